package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Recognized returns the engine with a way to recognize its stores by their files, which Find asks. The function
// reports whether there is a store of the engine at a path. It only reads, and an absent file is no error.
func (e Engine) Recognized(by func(location string) (bool, error)) Engine {
	e.recognize = by
	return e
}

// Find returns the URL of the store at a path of the file system, by asking each engine for its files. The path is
// taken as it is, without options. It only reads. Where there is no store, one that no engine knows or one that
// several do, the error wraps ErrInvalidURL and says which URLs can be meant; it wraps fs.ErrNotExist where there
// is nothing at all.
func Find(location string, engines ...Engine) (string, error) {
	fail := func(err error) error { return fmt.Errorf("store %q: %w, %w", location, ErrInvalidURL, err) }
	var found, possible []string
	for _, e := range engines {
		if e.place != "" && !e.remote {
			possible = append(possible, URL(e.scheme, location))
		}
		if e.recognize == nil {
			continue
		}
		is, err := e.recognize(location)
		if err != nil {
			return "", fail(err)
		}
		if is {
			found = append(found, URL(e.scheme, location))
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) > 1 {
		return "", fail(fmt.Errorf("the files there are those of several engines, expected one of %s", strings.Join(found, ", ")))
	}
	if _, err := os.Lstat(location); errors.Is(err, fs.ErrNotExist) {
		return "", fail(&absentError{possible})
	}
	return "", fail(fmt.Errorf("no engine knows the files there, expected one of %s", strings.Join(possible, ", ")))
}

// absentError says that a path without a scheme leads to nothing.
type absentError struct{ possible []string }

func (e *absentError) Error() string {
	return "nothing is there, and a new store needs the name of its engine, expected one of " + strings.Join(e.possible, ", ")
}

func (e *absentError) Is(target error) bool { return target == fs.ErrNotExist }
