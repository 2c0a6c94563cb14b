package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// maker creates the job that stores a record, or returns why that is impossible.
type maker func(data json.RawMessage) (job, error)

// fromTemplate stores whole records at paths from a template.
//
// It generates the index for '*' in the order of the file, and uses its time as the creation time. With many
// concurrent writers, the store would assign both in order of arrival.
func fromTemplate(t *template) maker {
	return func(data json.RawMessage) (job, error) {
		path, err := t.path(data)
		if err != nil {
			return job{}, err
		}
		j := job{path: path, data: data}
		if t.generated {
			j.generate(path)
		}
		return j, nil
	}
}

// generate sets a new path for a pattern that ends in '*'.
func (j *job) generate(pattern string) {
	j.path = key.Build(pattern)
	j.pattern = pattern
	j.times = &storage.Times{Created: key.Decode(key.LastIndex(j.path))}
}

// exported is a record of export. Index and revision are not read: the path contains the index, and the store assigns
// the revision.
type exported struct {
	Created *int64          `json:"created"`
	Updated int64           `json:"updated"`
	Expires int64           `json:"expires"`
	Path    string          `json:"path"`
	Data    json.RawMessage `json:"data"`
}

// fromExport stores the data of exported records at their own paths, with their own times if they have them.
func fromExport(data json.RawMessage) (job, error) {
	if data[0] != '{' {
		return job{}, fmt.Errorf("the record is %s, expected an object with path and data as export writes it; --as builds paths for other records", kindOf(data))
	}
	var record exported
	if err := json.Unmarshal(data, &record); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return job{}, fmt.Errorf("field %q is a %s, expected %s", wrongType.Field, wrongType.Value, expectedKind(wrongType.Type))
		}
		return job{}, err
	}
	switch {
	case record.Path == "":
		return job{}, errors.New(`the record has no "path"; --as builds paths from other fields`)
	case record.Data == nil:
		return job{}, errors.New(`the record has no "data"`)
	case record.Created == nil && record.Updated != 0:
		return job{}, errors.New(`the record has "updated" without "created"`)
	case key.HasGlob(record.Path):
		return job{}, fmt.Errorf("path %q: a path cannot contain '*'", record.Path)
	}
	if err := key.Check(record.Path); err != nil {
		return job{}, fmt.Errorf("path %s: %w", shorten(record.Path), err)
	}
	j := job{path: record.Path, data: record.Data, expires: record.Expires}
	if record.Created != nil {
		j.times = &storage.Times{Created: *record.Created, Updated: record.Updated}
	}
	return j, nil
}

// expectedKind returns the JSON kind of a field of exported.
func expectedKind(t reflect.Type) string {
	if t.Kind() == reflect.String {
		return "a string"
	}
	return "a whole number"
}

// shorten quotes a path of any length for an error.
func shorten(path string) string {
	const most = 80
	if len(path) <= most {
		return fmt.Sprintf("%q", path)
	}
	return fmt.Sprintf("%q... (%d bytes)", path[:most], len(path))
}
