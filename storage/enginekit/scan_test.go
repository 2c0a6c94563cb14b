package enginekit

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// numbers is a Reader of objects that are numbered from 0 on.
type numbers struct {
	count int // how many there are
	size  int // of the data of each
	fails error

	next   int
	limits []int
	ended  int
}

func (n *numbers) Read(chunk []meta.Object, limit int) ([]meta.Object, bool, error) {
	n.limits = append(n.limits, limit)
	more, err := Fill(&chunk, limit, func(obj *meta.Object) (bool, error) {
		if n.next == n.count {
			*obj = meta.Object{Path: "half of an object"}
			return false, n.fails
		}
		n.next++
		*obj = meta.Object{Created: int64(n.next - 1), Data: make([]byte, n.size)}
		return true, nil
	})
	return chunk, more, err
}

func (n *numbers) End() { n.ended++ }

func (n *numbers) open() (*numbers, error) { return n, nil }

func TestScanReadsInGrowingChunks(t *testing.T) {
	for _, c := range []struct {
		count, size int
		limits      []int
	}{
		{0, 1, []int{16}},
		{15, 1, []int{16}},
		{16, 1, []int{16, 32}},
		{3000, 1, []int{16, 32, 64, 128, 256, 512, 512, 512, 512, 512}},
		{5, MaxChunkBytes, []int{16, 32, 64, 128, 256, 512}},
		{5, MaxChunkBytes / 2, []int{16, 32, 64}},
	} {
		n := &numbers{count: c.count, size: c.size}
		seen := 0
		for obj, err := range Scan(n.open) {
			if err != nil || obj.Created != int64(seen) {
				t.Fatalf("%d of %d bytes: object %d is %d, %v", c.count, c.size, seen, obj.Created, err)
			}
			seen++
		}
		if seen != c.count || !slices.Equal(n.limits, c.limits) || n.ended != 1 {
			t.Errorf("%d of %d bytes: the scan yields %d in chunks of %d and ends %d times, expected chunks of %d",
				c.count, c.size, seen, n.limits, n.ended, c.limits)
		}
	}
}

func TestScanEndsOnce(t *testing.T) {
	n := &numbers{count: 100, size: 1}
	for range Scan(n.open) {
		break
	}
	func() {
		defer func() { _ = recover() }()
		for range Scan(n.open) {
			panic("in the loop")
		}
	}()
	if n.ended != 2 {
		t.Errorf("two loops that were left ended %d scans", n.ended)
	}
}

func TestScanYieldsAnErrorLast(t *testing.T) {
	failure := errors.New("a failure")
	n := &numbers{count: 20, size: 1, fails: failure}
	seen := 0
	var last error
	for _, err := range Scan(n.open) {
		if last != nil {
			t.Error("the scan goes on after an error")
		}
		if last = err; err == nil {
			seen++
		}
	}
	if seen != 20 || !errors.Is(last, failure) || n.ended != 1 {
		t.Errorf("the scan yields %d and ends %d times with %v, expected 20 and %v", seen, n.ended, last, failure)
	}
	yields := 0
	for _, err := range Scan(func() (*numbers, error) { return nil, failure }) {
		if yields++; !errors.Is(err, failure) {
			t.Errorf("a scan that cannot begin: %v", err)
		}
	}
	if yields != 1 {
		t.Errorf("a scan that cannot begin yields %d times", yields)
	}
}

// What was found before a panic is not lost.
func TestFillAppendsInPlace(t *testing.T) {
	var chunk []meta.Object
	func() {
		defer func() { _ = recover() }()
		_, _ = Fill(&chunk, 10, func(obj *meta.Object) (bool, error) {
			*obj = meta.Object{Data: []byte("1")}
			if len(chunk) == 3 {
				panic("in the engine")
			}
			return true, nil
		})
	}()
	if len(chunk) != 3 {
		t.Errorf("before the panic there were 3 objects, now %d", len(chunk))
	}
}

func TestScanning(t *testing.T) {
	for last, want := range map[string]string{"": "scan at its first key", "a/b": `scan after key "a/b"`} {
		if got := Scanning(last); got != want {
			t.Errorf("after %q it is %q, expected %q", last, got, want)
		}
	}
}

func TestScans(t *testing.T) {
	var scans Scans[string]
	for _, name := range []string{"a", "b", "c"} {
		scans.Add(name)
	}
	scans.Remove("b")
	scans.Remove("never added")
	if n := scans.Len(); n != 2 {
		t.Errorf("there are %d scans, expected 2", n)
	}
	var ended []string
	for range 2 {
		scans.End(func(name string) { ended = append(ended, name) })
	}
	if slices.Sort(ended); fmt.Sprint(ended) != "[a c]" || scans.Len() != 0 {
		t.Errorf("ended are %q and %d are left, expected a and c, once each", ended, scans.Len())
	}
	scans.Remove("a")
	scans.Add("d")
	if n := scans.Len(); n != 1 {
		t.Errorf("after the end there are %d scans, expected 1", n)
	}
}
