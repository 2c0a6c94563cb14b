package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Recognized returns the engine with a function that recognizes its stores by their files, for Find. The function
// reports whether a path holds a store of the engine. It only reads, and an absent file is not an error.
func (e Engine) Recognized(by func(location string) (bool, error)) Engine {
	e.recognize = by
	return e
}

// Find returns the URL of the store at a file system path by asking each engine about the files. The path has no
// options. Find only reads. If there is no store, or no engine or several engines recognize it, the error wraps
// ErrInvalidURL and lists the possible URLs. It also wraps fs.ErrNotExist if the path does not exist.
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
		return "", fail(fmt.Errorf("the location has files of several engines, expected one of %s", strings.Join(found, ", ")))
	}
	if _, err := os.Lstat(location); errors.Is(err, fs.ErrNotExist) {
		return "", fail(&absentError{possible})
	}
	return "", fail(fmt.Errorf("no engine recognizes the files, expected one of %s", strings.Join(possible, ", ")))
}

// absentError is the error for a path without a scheme that does not exist.
type absentError struct{ possible []string }

func (e *absentError) Error() string {
	return "nothing is there, and a new store needs the name of its engine, expected one of " + strings.Join(e.possible, ", ")
}

func (e *absentError) Is(target error) bool { return target == fs.ErrNotExist }
