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

// work is what a progress is about.
type work struct {
	name string // of the file or the store
	verb string // what is done to its records: "stored", say
	// size is how much there is in all, in bytes of a file or in objects, and then
	// roughly; -1 when unknown.
	size    int64
	objects bool
}

// amount writes a part of the size.
func (w work) amount(n int64) string {
	if w.objects {
		return "about " + plural(n, "object")
	}
	return humanBytes(n)
}

// progressState is how far a work is.
type progressState struct {
	read   int64 // of the size
	stored int64 // records
}

// progress tells how a work goes, on standard error: a bar on a terminal, a plain
// line every few seconds elsewhere, nothing when it is quiet. Methods may be called from
// any number of goroutines. Its one goroutine ends by stop.
type progress struct {
	work
	state   func() progressState
	started time.Time
	done    chan struct{}
	ended   sync.WaitGroup

	mu  sync.Mutex // guards the output: bar and lines do not mix
	out io.Writer
	bar *progressbar.ProgressBar // nil when there is none
}

// startProgress begins to report. The state is asked for at each report.
func startProgress(out io.Writer, screen terminal, quiet bool, of work, state func() progressState) *progress {
	if of.size == 0 {
		of.size = -1 // no share of nothing
	}
	p := &progress{work: of, state: state, started: time.Now(), done: make(chan struct{}), out: out}
	if quiet {
		return p
	}
	every := lineEvery
	if screen.is {
		every = barEvery
		p.bar = newBar(out, screen.width, of)
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

func newBar(out io.Writer, width int, of work) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription("0 " + of.verb),
		progressbar.OptionSetRenderBlankState(true), // its clock, which rates are made by, starts now
		progressbar.OptionSetWidth(max(5, min(40, width-barTexts))),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(of.size > 0),
		progressbar.OptionSetSpinnerChangeInterval(0), // the bar has no goroutine of its own
	}
	if of.objects {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString("objects"))
	} else {
		options = append(options, progressbar.OptionShowBytes(true))
	}
	return progressbar.NewOptions64(of.size, options...)
}

// barTexts is the room, in columns, for what stands around the bar.
const barTexts = 75

// report draws the bar or writes a line.
func (p *progress) report() {
	now := p.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		p.writeLocked(progressLine(p.work, now, time.Since(p.started)))
		return
	}
	p.bar.Describe(thousands(now.stored) + " " + p.verb)
	read := now.read
	if p.size > 0 {
		read = min(read, p.size) // the file may have grown, the estimate may be low
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
func progressLine(of work, now progressState, elapsed time.Duration) string {
	seconds := max(elapsed.Seconds(), 0.001)
	line := fmt.Sprintf("oolith: %s: %s %s, %s per second", of.name,
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
