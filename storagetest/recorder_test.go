package storagetest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a T that keeps what is reported to it.
type recorder struct {
	// mu guards the fields below.
	mu       sync.Mutex
	failed   bool
	lines    []string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Cleanup(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, fn)
}

func (r *recorder) TempDir() string {
	dir, err := os.MkdirTemp("", "storagetest")
	if err != nil {
		r.Fatalf("TempDir: %v", err)
	}
	r.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			r.Errorf("TempDir: %v", err)
		}
	})
	return dir
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// full runs all clauses of a kind on each thing that is broken on purpose, and not only those beside the one
// that it breaks: go test ./storagetest -run Broken -full
var full = flag.Bool("full", false, "run all clauses on what is broken on purpose")

const (
	// brief is the patience with a clause that has to fail: to fail too early is what it is for.
	brief = 300 * time.Millisecond
	// hanging is after how long such a clause is given up.
	hanging = 20 * time.Second
	// endless is no limit: what must hold on a slow machine too has none.
	endless = 24 * time.Hour
)

// record runs one function against a recorder, cleanups included, and gives up on what
// hangs: a broken layer may leave a goroutine behind.
func record(limit time.Duration, fn func(t T)) *recorder {
	r := &recorder{}
	run := func(what string, fn func()) {
		select {
		case p := <-guarded(fn):
			if p != "" {
				r.Errorf("%s: %s", what, p)
			}
		case <-time.After(limit):
			r.Errorf("%s hangs", what)
		}
	}
	run("the run", func() { fn(r) })
	r.mu.Lock()
	cleanups := r.cleanups
	r.mu.Unlock()
	for _, cleanup := range slices.Backward(cleanups) {
		run("a cleanup", cleanup)
	}
	return r
}

// failures runs clauses, of which some are to fail, and returns the ids of those that failed, with what they said.
func failures(clauses []Clause, s *subject, want []string) (ids []string, said map[string]string) {
	said = make(map[string]string)
	for _, c := range clauses {
		one, limit := &subject{Options: s.Options, openLayer: s.openLayer, openEmbedded: s.openEmbedded, openDatabase: s.openDatabase}, endless
		if slices.Contains(want, c.ID) {
			one.Patience, limit = brief, hanging
		}
		r := record(limit, func(t T) { c.check(t, one) })
		if r.Failed() {
			ids = append(ids, c.ID)
			said[c.ID] = r.text()
		}
	}
	return ids, said
}

// inLists returns the clauses that stand in one list with one of some.
func inLists(clauses []Clause, some []string) []Clause {
	named := func(c Clause) bool { return slices.Contains(some, c.ID) }
	near := make(map[string]bool)
	for _, list := range [][]Clause{
		layerClauses, embeddedClauses, coreClauses, leaseClauses, batchClauses, expiryClauses, pageClauses, boundClauses, subtreeClauses, browseClauses, eventClauses, subscribeClauses,
	} {
		for _, c := range list {
			near[c.ID] = slices.ContainsFunc(list, named)
		}
	}
	return slices.DeleteFunc(slices.Clone(clauses), func(c Clause) bool { return !near[c.ID] })
}

// wantFailures checks that exactly the wanted clauses fail, and that they name their
// demand.
func wantFailures(t *testing.T, clauses []Clause, s *subject, want ...string) {
	t.Helper()
	if !*full {
		clauses = inLists(clauses, want)
	}
	got, said := failures(clauses, s, want)
	if !slices.Equal(got, want) {
		t.Errorf("failed clauses are %v, want %v", got, want)
		for id, text := range said {
			if !slices.Contains(want, id) {
				t.Logf("%s: %s", id, text)
			}
		}
	}
	for _, c := range clauses {
		if text, failed := said[c.ID]; failed && !strings.Contains(text, c.Demand) {
			t.Errorf("the failure of %s does not print its demand: %s", c.ID, text)
		}
	}
}

func TestClausesHaveDemands(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Clauses() {
		if seen[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		seen[c.ID] = true
		if c.Demand == "" || !strings.HasSuffix(c.Demand, ".") || c.run == nil {
			t.Errorf("%s: want a demand that is a sentence, and a check", c.ID)
		}
		if want := c.ID + ": " + c.Demand; c.String() != want {
			t.Errorf("String is %q, want %q", c.String(), want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"users/*", "users/1", true},
		{"users/*", "users/1/posts", false},
		{"users/*", "users", false},
		{"*", "a", true},
		{"*", "a/b", false},
		{"a*", "a", true},
		{"a*", "ab", true},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*a", "a", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXcYb", false},
		{"*/b/*", "a/b/c", true},
		{"a/*/c", "a/b/b/c", false},
		{"a/b", "a/b", true},
		{"a/*", "a/*", true},
	} {
		if got := match(c.pattern, c.path); got != c.want {
			t.Errorf("match(%q, %q) is %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}
