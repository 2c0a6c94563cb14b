package command

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
)

const (
	barEvery  = 100 * time.Millisecond // a report on a terminal is drawn anew
	lineEvery = 5 * time.Second        // a line is written elsewhere
)

// work is the subject of a progress report.
type work struct {
	name string // of the file or the store
	verb string // what is done to its records, such as "stored"
	// size is the total, in bytes of a file or approximately in objects; -1 if unknown.
	size    int64
	objects bool
}

// amount formats a part of the size.
func (w work) amount(n int64) string {
	if w.objects {
		return "about " + plural(n, "object")
	}
	return humanBytes(n)
}

// progressState is the progress of a work.
type progressState struct {
	read   int64 // of the size
	stored int64 // records
}

// progress reports the progress of a work on standard error: one updated line on a terminal, otherwise a plain line
// every few seconds, and nothing if it is quiet. Methods may be called concurrently. stop ends its goroutine.
type progress struct {
	work
	state   func() progressState
	screen  terminal
	started time.Time
	done    chan struct{}
	ended   sync.WaitGroup

	mu    sync.Mutex // guards the output: reports and lines do not mix
	out   io.Writer
	drawn bool // the terminal's line has a report
}

// startProgress starts to report. It calls state for each report.
func startProgress(out io.Writer, screen terminal, quiet bool, of work, state func() progressState) *progress {
	p := &progress{work: of, state: state, screen: screen, started: time.Now(), done: make(chan struct{}), out: out}
	if quiet {
		return p
	}
	every := lineEvery
	if screen.is {
		every = barEvery
	}
	p.ended.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.report()
			case <-p.done:
				return
			}
		}
	})
	return p
}

// report updates the line or writes one.
func (p *progress) report() {
	now := p.state()
	line := progressLine(p.work, now, time.Since(p.started))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.screen.is {
		p.writeLocked("oolith: " + line + "\n")
		return
	}
	// One column stays free, because a terminal may wrap a full line. The width is read each time, because the window
	// may have changed.
	p.writeLocked(restOfLine + clip(withBar(line, p.work, now, p.screen.columns()-1), p.screen.columns()-1))
	p.drawn = true
}

// restOfLine goes to the start of a terminal's line and clears it (ECMA-48, CR and EL).
const restOfLine = "\r\x1b[K"

// withBar adds a progress bar to a report, if there is room and a known size.
func withBar(line string, of work, now progressState, columns int) string {
	room := min(40, columns-uniseg.StringWidth(line)-len("[] "))
	if of.size <= 0 || room < 10 {
		return line
	}
	full := int(min(now.read, of.size) * int64(room) / of.size)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", room-full) + "] " + line
}

// println writes one line of text above the report.
func (p *progress) println(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	p.writeLocked(line + "\n")
}

// stop ends the reports and clears the last one.
func (p *progress) stop() {
	close(p.done)
	p.ended.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}

func (p *progress) clearLocked() {
	if p.drawn {
		p.writeLocked(restOfLine)
		p.drawn = false
	}
}

// writeLocked writes to standard error. Its errors cannot be reported anywhere.
func (p *progress) writeLocked(text string) {
	_, _ = io.WriteString(p.out, text)
}

// progressLine formats a report.
func progressLine(of work, now progressState, elapsed time.Duration) string {
	seconds := max(elapsed.Seconds(), 0.001)
	line := fmt.Sprintf("%s: %s %s, %s per second", of.name,
		thousands(now.stored), of.verb, thousands(int64(float64(now.stored)/seconds)))
	switch {
	case of.size > 0:
		line += fmt.Sprintf(", %d%% of %s", min(100, now.read*100/of.size), of.amount(of.size))
	case !of.objects:
		line += ", " + of.amount(now.read) + " read"
	}
	if now.read > 0 && now.read < of.size {
		left := time.Duration(float64(of.size-now.read) / float64(now.read) * float64(elapsed))
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}
