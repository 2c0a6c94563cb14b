package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/cluster/internal/machine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestMain(m *testing.M) {
	etcdserver.SmallFiles()
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
	one := func(kind string, found, value, began, end int) call {
		return call{kind: kind, found: found, value: value, began: at(began), end: at(end)}
	}
	list := func(values registers, began, end int) call {
		return call{kind: "list", all: values, began: at(began), end: at(end)}
	}
	for _, c := range []struct {
		name    string
		history []call
		want    bool
	}{
		{"one after the other", []call{one("set", 0, 7, 0, 1), one("get", 7, 0, 2, 3), one("update", 7, 8, 4, 5), one("get", 8, 0, 6, 7)}, true},
		{"at once, in the other order", []call{one("set", 0, 7, 0, 3), one("get", absent, 0, 1, 2)}, true},
		{"a read of what was before", []call{one("set", 0, 7, 0, 1), one("get", absent, 0, 2, 3)}, false},
		{"an update that is lost", []call{one("set", 0, 7, 0, 1), one("update", 7, 8, 2, 4), one("update", 7, 9, 3, 5)}, false},
		{"one of two swaps is refused", []call{one("swap", absent, 7, 0, 3), one("refused", absent, 9, 1, 2)}, true},
		{"a swap that is refused for nothing", []call{one("set", 0, 7, 0, 1), one("refused", 7, 9, 2, 3)}, false},
		{"a batch, whole", []call{one("batch", 0, 7, 0, 3), list(registers{7, 7, 7}, 1, 2)}, true},
		{"half a batch", []call{one("batch", 0, 7, 0, 3), list(registers{7, 7, absent}, 1, 2)}, false},
		{"a delete, whole", []call{one("batch", 0, 7, 0, 1), one("delete", 0, 0, 2, 5), list(registers{absent, absent, absent}, 3, 4)}, true},
		{"half a delete", []call{one("batch", 0, 7, 0, 1), one("delete", 0, 0, 2, 5), list(registers{absent, 7, 7}, 3, 4)}, false},
	} {
		r := &round{bed: &bed{tally: new(tally)}, ledger: &ledger{history: c.history}}
		if got := r.linearizable() == nil; got != c.want {
			t.Errorf("%s: in order %v, want %v", c.name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		fences []fenced
		want   bool
	}{
		"in their order": {[]fenced{{1, at(0), at(1)}, {1, at(2), at(3)}, {2, at(4), at(5)}}, true},
		"at once":        {[]fenced{{2, at(0), at(3)}, {1, at(1), at(2)}}, true},
		"an old one":     {[]fenced{{1, at(0), at(1)}, {2, at(2), at(3)}, {1, at(4), at(5)}}, false},
	} {
		s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
		if err := s.Start(storage.Options{}); err != nil {
			t.Fatal(err)
		}
		r := &round{ledger: &ledger{fences: c.fences}}
		if got := r.checkFences(s) == nil; got != c.want {
			t.Errorf("tokens %s: well %v, want %v", name, got, c.want)
		}
		s.Close()
	}
}

// TestMachines runs one small round with some of the faults that need machines of their own.
func TestMachines(t *testing.T) {
	if err := machine.Available(); err != nil {
		t.Skip(err)
	}
	for _, fault := range []string{"power cuts of all members", "partitions of one machine", "full disks"} {
		t.Run(fault, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), []string{"-budget", "0", "-faults", "1", "-machines", "-only", fault, "-dir", t.TempDir()}, &out); err != nil {
				t.Fatal(err)
			}
			if want := "1 " + fault; !strings.Contains(out.String(), want) {
				t.Errorf("it says %q, want %q", out.String(), want)
			}
		})
	}
}

// TestWatch delivers some changes.
func TestWatch(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-watch", "100000", "-only", "connections", "-dir", t.TempDir()}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "changes delivered and checked") {
		t.Errorf("it says %q", out.String())
	}
}

// TestCheckers shows that what is lost, doubled, reordered or torn is found.
func TestCheckers(t *testing.T) {
	set := func(writer, number int, more bool) storage.Notice {
		return storage.Notice{
			Kind: storage.NoticeSet, Path: fmt.Sprintf("count/%d/%d", writer, (number-1)%batchSize), More: more,
			Object: &meta.Object{Data: json.RawMessage(strconv.Itoa(number))},
		}
	}
	for name, c := range map[string]struct {
		next storage.Notice
		well bool
	}{
		"the next":                  {set(1, 8, true), true},
		"one is lost":               {set(1, 9, true), false},
		"one is told twice":         {set(1, 7, true), false},
		"of another writer":         {set(0, 8, true), false},
		"a batch ends in its midst": {set(1, 8, false), false},
	} {
		checker := &checker{last: [nodes]int{0, 7, 0}}
		if err := checker.take(c.next); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
	batch := func(from, to int) (numbers []int) {
		for n := from; n <= to; n++ {
			numbers = append(numbers, n)
		}
		return numbers
	}
	for name, c := range map[string]struct {
		state []int
		well  bool
	}{
		"the same":       {batch(201, 400), true},
		"a later one":    {batch(401, 600), true},
		"an earlier one": {batch(1, 200), false},
		"half of one":    {batch(401, 500), false},
		"of two":         {batch(301, 500), false},
		"nothing":        {nil, false},
	} {
		checker := &checker{last: [nodes]int{0, 400, 0}}
		if err := checker.begin(&[nodes][]int{nil, c.state, nil}); (err == nil) != c.well {
			t.Errorf("a state that is %s: %v", name, err)
		}
	}
}
