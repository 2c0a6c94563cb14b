package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	barEvery  = 100 * time.Millisecond // a bar on a terminal is drawn anew
	lineEvery = 5 * time.Second        // a line is written elsewhere
)

// progressState is how far an import is.
type progressState struct {
	read   int64 // bytes of the file
	stored int64 // records
}

// progress tells how an import goes, on standard error: a bar on a terminal, a plain
// line every few seconds elsewhere, nothing when it is quiet. Methods may be called from
// any number of goroutines. Its one goroutine ends by stop.
type progress struct {
	name    string
	size    int64 // bytes of the file; -1 when unknown
	state   func() progressState
	started time.Time
	done    chan struct{}
	ended   sync.WaitGroup

	mu  sync.Mutex // guards the output: bar and lines do not mix
	out io.Writer
	bar *progressbar.ProgressBar // nil when there is none
}

// startProgress begins to report. The state is asked for at each report.
func startProgress(out io.Writer, screen terminal, quiet bool, name string, size int64, state func() progressState) *progress {
	if size == 0 {
		size = -1 // no share of nothing
	}
	p := &progress{name: name, size: size, state: state, started: time.Now(), done: make(chan struct{}), out: out}
	every := lineEvery
	if screen.is {
		every = barEvery
		p.bar = newBar(out, screen.width, size)
	}
	if quiet {
		p.bar = nil
		return p
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

func newBar(out io.Writer, width int, size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(max(5, min(40, width-barTexts))),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(size > 0),
		progressbar.OptionSetSpinnerChangeInterval(0), // the bar has no goroutine of its own
	)
}

// barTexts is the room, in columns, for what stands around the bar.
const barTexts = 75

// report draws the bar or writes a line.
func (p *progress) report() {
	now := p.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		p.writeLocked(progressLine(p.name, p.size, now, time.Since(p.started)))
		return
	}
	p.bar.Describe(thousands(now.stored) + " stored")
	read := now.read
	if p.size > 0 {
		read = min(read, p.size) // the file may have grown
	}
	if err := p.bar.Set64(read); err != nil {
		p.bar = nil // the terminal is gone; the import is not
	}
}

// println writes one line of text above the bar.
func (p *progress) println(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	p.writeLocked(line)
}

// stop ends the reports and takes the bar away.
func (p *progress) stop() {
	close(p.done)
	p.ended.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}

func (p *progress) clearLocked() {
	if p.bar == nil {
		return
	}
	if err := p.bar.Clear(); err != nil {
		p.bar = nil
	}
}

// writeLocked writes to standard error. Its failure has no place to be told.
func (p *progress) writeLocked(line string) {
	_, _ = fmt.Fprintln(p.out, line)
}

// progressLine is the plain form of a report.
func progressLine(name string, size int64, now progressState, elapsed time.Duration) string {
	seconds := max(elapsed.Seconds(), 0.001)
	line := fmt.Sprintf("oolith: %s: %s stored, %s per second", name,
		thousands(now.stored), thousands(int64(float64(now.stored)/seconds)))
	if size <= 0 {
		return line + ", " + humanBytes(now.read) + " read"
	}
	line += fmt.Sprintf(", %d%% of %s", min(100, now.read*100/size), humanBytes(size))
	if now.read > 0 && now.read < size {
		left := time.Duration(float64(size-now.read) / float64(now.read) * float64(elapsed))
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}
