package engine

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Location returns the path that a store's URL names: what stands between its scheme and its options, with
// %3F and the like decoded; empty for memory:. It knows no engines, and looks at no file.
//
// What looks like a path and would become another than its author means is an error that gives the right form:
// a host (pebble://data), a home directory (pebble:~/data, which no shell expands there), SQLite's own
// names (sqlite::memory:, sqlite:file:x.db), blanks at the ends, control characters.
func Location(storeURL string) (string, error) {
	scheme, rest, found := strings.Cut(storeURL, ":")
	raw, _, _ := strings.Cut(rest, "?")
	var err error
	if !found {
		err = fmt.Errorf("no scheme, expected one such as %s", "pebble:./data")
	}
	location := ""
	if err == nil && raw != "" {
		location, err = decode(scheme, raw)
	}
	if err != nil {
		return "", fmt.Errorf("store %q: %w: %w", storeURL, ErrInvalidURL, err)
	}
	return location, nil
}

// URL returns the URL of a store without options: the counterpart of Location.
func URL(scheme, location string) string {
	return scheme + ":" + strings.NewReplacer("%", "%25", "?", "%3F").Replace(location)
}

// decode makes a path of what a URL has in its place.
func decode(scheme, raw string) (string, error) {
	if host, isHost := strings.CutPrefix(raw, "//"); isHost {
		path, absolute := strings.CutPrefix(host, "/")
		if !absolute || path == "" {
			return "", fmt.Errorf("%q names a host, expected a path: %s:%s or %s:/%s", "//"+host, scheme, host, scheme, strings.TrimLeft(host, "/"))
		}
		raw = "/" + path
	}
	location, err := unescape(raw)
	switch {
	case err != nil:
		return "", err
	case location == "~" || strings.HasPrefix(location, "~/"):
		return "", fmt.Errorf("nobody expands the ~ of %q, expected %s:$HOME%s, or %s:./%s for a place of that name", location, scheme, location[1:], scheme, location)
	case location == ":memory:":
		return "", fmt.Errorf("expected memory: for a store that keeps nothing, %q is SQLite's own name", location)
	case strings.HasPrefix(location, "file:"):
		return "", fmt.Errorf("%q is a URL within a URL, expected %s:%s", location, scheme, strings.TrimPrefix(location, "file:"))
	case strings.TrimSpace(location) != location:
		return "", fmt.Errorf("location %q begins or ends with a blank, expected %s:%s, or %s:./NAME for such a name", location, scheme, strings.TrimSpace(location), scheme)
	}
	return location, nil
}

// unescape is all that the locations of files and others have in common.
func unescape(raw string) (string, error) {
	location, err := url.PathUnescape(raw)
	if err != nil {
		return "", fmt.Errorf("location %q: %w; write %%25 for a percent sign", raw, err)
	}
	if strings.ContainsFunc(location, unicode.IsControl) {
		return "", fmt.Errorf("location %q has a control character, expected one without", location)
	}
	return location, nil
}
