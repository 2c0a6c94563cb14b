package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/cluster/etcdserver"
)

func TestMain(m *testing.M) {
	etcdserver.RunMember()
	os.Exit(m.Run())
}

// TestRun runs one small round.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-budget", "0", "-faults", "2", "-dir", t.TempDir()}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "ok, ") || !strings.Contains(out.String(), "1 rounds") {
		t.Errorf("it says %q", out.String())
	}
}

// TestJudges shows that histories without an order are found, and those with one are not.
func TestJudges(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	for _, c := range []struct {
		name    string
		history []call
		want    bool
	}{
		{"one after the other", []call{{"r", 0, "set", 7, at(0), at(1)}, {"r", 1, "get", 7, at(2), at(3)}, {"r", 0, "add", 7, at(4), at(5)}, {"r", 1, "get", 8, at(6), at(7)}}, true},
		{"at once, in the other order", []call{{"r", 0, "set", 7, at(0), at(3)}, {"r", 1, "get", -1, at(1), at(2)}}, true},
		{"a read of what was before", []call{{"r", 0, "set", 7, at(0), at(1)}, {"r", 1, "get", -1, at(2), at(3)}}, false},
		{"an update that is lost", []call{{"r", 0, "set", 7, at(0), at(1)}, {"r", 0, "add", 7, at(2), at(4)}, {"r", 1, "add", 7, at(3), at(5)}}, false},
	} {
		r := &round{tally: new(tally), ledger: &ledger{history: c.history}}
		if got := r.linearizable() == nil; got != c.want {
			t.Errorf("%s: in order %v, want %v", c.name, got, c.want)
		}
	}
}
