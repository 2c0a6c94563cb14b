package engine

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Option is an option of an engine's URLs. T holds the engine's options.
type Option[T any] struct {
	name string
	// values describes the allowed values.
	values string
	// set parses a value. Its error does not name the option.
	set func(options *T, value string) error
}

// Value returns an option with values that set parses. Values describes them, for users.
func Value[T any](name, values string, set func(options *T, value string) error) Option[T] {
	return Option[T]{name, values, set}
}

// Text returns an option with any non-empty text. Values describes it, for users.
func Text[T any](name, values string, set func(options *T, value string)) Option[T] {
	return Value(name, values, func(o *T, value string) error {
		if value == "" {
			return errors.New("the value is empty")
		}
		set(o, value)
		return nil
	})
}

// Switch returns an option that is on or off.
func Switch[T any](name string, set func(options *T, on bool)) Option[T] {
	return Value(name, "on or off", func(o *T, value string) error {
		if value != "on" && value != "off" {
			return fmt.Errorf("unknown value %q", value)
		}
		set(o, value == "on")
		return nil
	})
}

// Size returns an option with a positive number of bytes, optionally with a binary unit of IEC 80000-13.
func Size[T any](name string, set func(options *T, bytes int64)) Option[T] {
	return Value(name, "a number of bytes such as 64MiB, 1GiB or 1048576", func(o *T, value string) error {
		size, err := parseSize(value)
		if err == nil {
			set(o, size)
		}
		return err
	})
}

// setOptions sets the options of the query.
func setOptions[T any](table []Option[T], options *T, query url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		at := slices.IndexFunc(table, func(o Option[T]) bool { return o.name == name })
		if at < 0 {
			return fmt.Errorf("unknown option %q, expected %s", name, knownOptions(table))
		}
		values := query[name]
		if len(values) > 1 {
			return fmt.Errorf("option %q occurs %d times, expected once", name, len(values))
		}
		if err := table[at].set(options, values[0]); err != nil {
			return fmt.Errorf("option %s=%s, %w, expected %s", name, values[0], err, table[at].values)
		}
	}
	return nil
}

// knownOptions lists the options, for users.
func knownOptions[T any](table []Option[T]) string {
	if len(table) == 0 {
		return "none"
	}
	names := make([]string, len(table))
	for i, o := range table {
		names[i] = fmt.Sprintf("%s=(%s)", o.name, o.values)
	}
	return "one of " + strings.Join(names, ", ")
}

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
