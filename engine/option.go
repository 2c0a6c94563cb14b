package engine

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// option is one option of an engine whose own options are a T.
type option[T any] struct {
	name string
	// values says what can stand after the equals sign.
	values string
	// set parses a value; its error needs no name.
	set func(options *T, value string) error
}

// opener makes the open function of a scheme from an engine's option table and its
// constructor.
func opener[T any](
	table []option[T], create func(location string, options T) storage.EmbeddedLayer,
) func(string, url.Values) (storage.EmbeddedLayer, error) {
	return func(location string, query url.Values) (storage.EmbeddedLayer, error) {
		var options T
		if err := setOptions(table, &options, query); err != nil {
			return nil, err
		}
		return create(location, options), nil
	}
}

// setOptions sets what the query names, by the table.
func setOptions[T any](table []option[T], options *T, query url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		at := slices.IndexFunc(table, func(o option[T]) bool { return o.name == name })
		if at < 0 {
			return fmt.Errorf("unknown option %q, expected %s", name, knownOptions(table))
		}
		values := query[name]
		if len(values) > 1 {
			return fmt.Errorf("option %q is given %d times, expected once", name, len(values))
		}
		if err := table[at].set(options, values[0]); err != nil {
			return fmt.Errorf("option %s=%s: %w, expected %s", name, values[0], err, table[at].values)
		}
	}
	return nil
}

// knownOptions lists a table for a reader.
func knownOptions[T any](table []option[T]) string {
	if len(table) == 0 {
		return "none"
	}
	names := make([]string, len(table))
	for i, o := range table {
		names[i] = fmt.Sprintf("%s=(%s)", o.name, o.values)
	}
	return "one of " + strings.Join(names, ", ")
}

// The forms of values that engines share.
const (
	onOrOff     = "on or off"
	sizeInBytes = "a number of bytes such as 64MiB, 1GiB or 1048576"
)

// parseSwitch reads on or off.
func parseSwitch(value string) (bool, error) {
	switch value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("unknown value %q", value)
}

// parseSize reads a positive number of bytes, with the binary units of IEC 80000-13.
func parseSize(value string) (int64, error) {
	number, shift := value, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if cut, ok := strings.CutSuffix(value, unit); ok {
			number, shift = cut, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("invalid size %q", value)
	}
	if n <= 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("size %q is out of range", value)
	}
	return n << shift, nil
}
