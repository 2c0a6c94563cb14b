package command

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// output is a buffer that is read while others write.
type output struct {
	mu     sync.Mutex // guards buffer
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func TestProgressLine(t *testing.T) {
	file := func(size int64) work { return work{name: "x", verb: "stored", size: size} }
	store := func(size int64) work { return work{name: "x", verb: "copied", size: size, objects: true} }
	for _, test := range []struct {
		name    string
		of      work
		now     progressState
		elapsed time.Duration
		want    string
	}{
		{"in the middle", file(4_000_000), progressState{read: 1_000_000, stored: 50_000}, 5 * time.Second,
			"x: 50,000 stored, 10,000 per second, 25% of 4.0 MB, 15s left"},
		{"at the start", file(4_000_000), progressState{}, 0, "x: 0 stored, 0 per second, 0% of 4.0 MB"},
		{"all is read", file(1000), progressState{read: 1000, stored: 10}, time.Second, "x: 10 stored, 10 per second, 100% of 1.0 kB"},
		{"the file grew", file(1000), progressState{read: 2000, stored: 10}, time.Second, "x: 10 stored, 10 per second, 100% of 1.0 kB"},
		{"no size", file(-1), progressState{read: 2000, stored: 10}, time.Second, "x: 10 stored, 10 per second, 2.0 kB read"},
		{"objects", store(4000), progressState{read: 1000, stored: 1000}, 5 * time.Second,
			"x: 1,000 copied, 200 per second, 25% of about 4,000 objects, 15s left"},
		{"more objects than thought", store(10), progressState{read: 20, stored: 20}, time.Second, "x: 20 copied, 20 per second, 100% of about 10 objects"},
		{"unknown objects", store(-1), progressState{read: 20, stored: 20}, time.Second, "x: 20 copied, 20 per second"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := progressLine(test.of, test.now, test.elapsed); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestProgressWritesLinesOffATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		state := func() progressState { return progressState{read: 250, stored: 100} }
		p := startProgress(&out, terminal{}, false, work{name: "x.json", verb: "stored", size: 1000}, state)
		time.Sleep(lineEvery - 1)
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("before the first %v: %q", lineEvery, out.String())
		}
		time.Sleep(lineEvery + 1)
		synctest.Wait()
		p.println("a refusal")
		p.stop()
		want := "oolith: x.json: 100 stored, 20 per second, 25% of 1.0 kB, 15s left\n" +
			"oolith: x.json: 100 stored, 10 per second, 25% of 1.0 kB, 30s left\na refusal\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

// On a terminal each report is one line of it, however narrow it is, and also once it has become narrower.
func TestProgressStaysOnItsLine(t *testing.T) {
	for _, size := range []int64{1000, -1} {
		for _, width := range []int{200, 100, 60, 59, 30, 12, 2, 1} {
			synctest.Test(t, func(t *testing.T) {
				var out output
				read := int64(0)
				state := func() progressState {
					read += 100
					return progressState{read: read, stored: read * 10}
				}
				p := startProgress(&out, terminal{is: true, width: width}, false, work{name: "x.json", verb: "stored", size: size}, state)
				time.Sleep(7*barEvery + 1)
				synctest.Wait()
				p.println("a refusal")
				p.stop()
				drawn := out.String()
				if n := strings.Count(drawn, "\n"); n != 1 || !strings.HasSuffix(drawn, restOfLine+"a refusal\n") {
					t.Errorf("size %d, %d columns: %d line feeds in %q, want that of the refusal alone, on a cleared line", size, width, n, drawn)
				}
				reports := strings.Split(drawn, restOfLine)
				if len(reports) != 7+2 {
					t.Errorf("size %d, %d columns: %d reports, want 7", size, width, len(reports)-2)
				}
				for _, line := range reports[:len(reports)-1] {
					if len([]rune(line)) >= max(width, 2) {
						t.Errorf("size %d, %d columns: as wide as the terminal: %q", size, width, line)
					}
				}
				if width == 200 {
					want := "x.json: 5,000 stored, 10,000 per second"
					if size > 0 {
						want = "[====================                    ] " + want + ", 50% of 1.0 kB"
					}
					if !strings.Contains(drawn, want) {
						t.Errorf("size %d: no %q in %q", size, want, drawn)
					}
				}
			})
		}
	}
}

func TestProgressIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		p := startProgress(&out, terminal{is: true, width: 80}, true, work{name: "x", size: 10}, func() progressState { return progressState{} })
		time.Sleep(time.Minute)
		p.println("a refusal")
		p.stop()
		if out.String() != "a refusal\n" {
			t.Errorf("got %q, want the refusal alone", out.String())
		}
	})
}
