// Package ui has the files of the explorer: a page, and native modules that it loads. There is no build step: what is in static
// is what a browser gets.
package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed static
var embedded embed.FS

// File is a file as it is served.
type File struct {
	Type    string // the media type
	Tag     string // the entity tag
	Text    []byte
	Gzipped []byte
}

// site is all of the explorer.
type site struct {
	page  *File
	files map[string]*File // by name behind the address of the version
	// version is a hash of all files, and a part of the address of each: one may be kept for ever, and modules that import each
	// other are of one version.
	version string
}

var types = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8",
	".txt": "text/plain; charset=utf-8",
}

// load reads the files once they are asked for.
var load = sync.OnceValue(func() *site {
	s, err := newSite(embedded)
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return s
})

func newSite(all fs.FS) (*site, error) {
	s := &site{files: map[string]*File{}}
	hash := sha256.New()
	var page []byte
	err := fs.WalkDir(all, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		kind, served := types[path.Ext(name)]
		if !served {
			return nil // types for the checker, which no browser reads
		}
		text, err := fs.ReadFile(all, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%s %d\n", name, len(text))
		hash.Write(text)
		name = strings.TrimPrefix(name, "static/")
		if name == "index.html" {
			page = text
			return nil
		}
		if s.files[name], err = newFile(kind, text); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.version = "v-" + hex.EncodeToString(hash.Sum(nil)[:8])
	var preloads strings.Builder
	for _, name := range s.needed("app.js") {
		fmt.Fprintf(&preloads, "<link rel=\"modulepreload\" href=\"/~/ui/VERSION/%s\">\n", name)
	}
	page = bytes.ReplaceAll(page, []byte("<!-- modules -->\n"), []byte(preloads.String()))
	page = bytes.ReplaceAll(page, []byte("VERSION"), []byte(s.version))
	s.page, err = newFile(types[".html"], page)
	return s, err
}

// imports finds what a module needs before it runs.
var imports = regexp.MustCompile(`(?m)^(?:import|export) (?:[^'\n]* from )?'\./([\w./-]+)'`)

// needed returns a module and all that it needs, each once: a browser that knows them asks for all at once.
func (s *site) needed(name string) []string {
	names := []string{name}
	for i := 0; i < len(names); i++ {
		for _, found := range imports.FindAllSubmatch(s.files[names[i]].Text, -1) {
			if other := path.Join(path.Dir(names[i]), string(found[1])); s.files[other] != nil && !slices.Contains(names, other) {
				names = append(names, other)
			}
		}
	}
	return names
}

func newFile(kind string, text []byte) (*File, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	hash := sha256.Sum256(text)
	return &File{kind, `"` + hex.EncodeToString(hash[:8]) + `"`, text, out.Bytes()}, err
}

// Page returns the page of the explorer, whatever view of it is asked for.
func Page() *File { return load().page }

// Find returns the file at an address behind /~/ui/. static is false for what is no file but a view, which Page shows; a static
// one that is nil is not there, or of another version.
func Find(name string) (file *File, static bool) {
	version, rest, _ := strings.Cut(name, "/")
	if !strings.HasPrefix(version, "v-") {
		return nil, false
	}
	s := load()
	if version != s.version {
		return nil, true
	}
	return s.files[rest], true
}
