package engine

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Location returns the path in a store's URL: the part between scheme and options, with escapes such as %3F decoded;
// empty for memory:. It knows no engines and does not look at files.
//
// A location that would name another path than its author probably means is an error with the correct form: a host
// (pebble://data), a home directory (pebble:~/data, which the shell does not expand), SQLite's own names
// (sqlite::memory:, sqlite:file:x.db), leading and trailing spaces, control characters.
func Location(storeURL string) (string, error) {
	scheme, rest, found := strings.Cut(storeURL, ":")
	raw, _, _ := strings.Cut(rest, "?")
	var err error
	if !found {
		err = fmt.Errorf("the scheme is missing, expected a URL such as %s", "pebble:./data")
	}
	location := ""
	if err == nil && raw != "" {
		location, err = decode(scheme, raw)
	}
	if err != nil {
		return "", fmt.Errorf("store %q: %w, %w", storeURL, ErrInvalidURL, err)
	}
	return location, nil
}

// URL returns the URL of a store without options. It is the inverse of Location.
func URL(scheme, location string) string {
	return scheme + ":" + strings.NewReplacer("%", "%25", "?", "%3F").Replace(location)
}

// decode converts the location of a URL into a path.
func decode(scheme, raw string) (string, error) {
	if host, isHost := strings.CutPrefix(raw, "//"); isHost {
		path, absolute := strings.CutPrefix(host, "/")
		if !absolute || path == "" {
			return "", fmt.Errorf("%q names a host, expected a path such as %s:%s or %s:/%s", "//"+host, scheme, host, scheme, strings.TrimLeft(host, "/"))
		}
		raw = "/" + path
	}
	location, err := unescape(raw)
	switch {
	case err != nil:
		return "", err
	case location == "~" || strings.HasPrefix(location, "~/"):
		return "", fmt.Errorf("the ~ in %q is not expanded, expected %s:$HOME%s, or %s:./%s for a file of that name", location, scheme, location[1:], scheme, location)
	case location == ":memory:":
		return "", fmt.Errorf("%q is a name for SQLite only, expected memory: for a store in memory", location)
	case strings.HasPrefix(location, "file:"):
		return "", fmt.Errorf("%q is a URL inside a URL, expected %s:%s", location, scheme, strings.TrimPrefix(location, "file:"))
	case strings.TrimSpace(location) != location:
		return "", fmt.Errorf("location %q begins or ends with a space, expected %s:%s, or %s:./NAME for such a name", location, scheme, strings.TrimSpace(location), scheme)
	}
	return location, nil
}

// unescape is the part that locations of files and other locations share.
func unescape(raw string) (string, error) {
	location, err := url.PathUnescape(raw)
	if err != nil {
		return "", fmt.Errorf("location %q has an invalid escape; write %%25 for a percent sign", raw)
	}
	if strings.ContainsFunc(location, unicode.IsControl) {
		return "", fmt.Errorf("location %q has a control character; remove it", location)
	}
	return location, nil
}
