package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/storage"
)

// engines are the stores that the campaigns use on a real disk, as formats of their URLs.
var engines = []string{"pebble:%s/store", "sqlite:%s/store.db", "badger:%s/store", "ko:%s/store"}

// line is a message of the victim about a call: when it begins, and when it was acknowledged.
type line struct {
	Writer   int              `json:"w"`
	Begin    map[string]*told `json:"b,omitempty"` // the effect
	Acked    bool             `json:"a,omitempty"`
	Revision uint64           `json:"r,omitempty"`
}

type told struct {
	Data    string `json:"d"`
	Expires int64  `json:"e,omitempty"`
}

// killRound starts a process that writes, kills it at a random moment, and compares the store that it leaves with
// what was acknowledged; several times on one store.
func killRound(ctx context.Context, c config, t *tally) error {
	url := fmt.Sprintf(engines[int(c.seed)%len(engines)], c.dir)
	scheme, _, _ := strings.Cut(url, ":")
	ledgers := newLedgers(1 + c.rng.IntN(8))
	for life := range 4 {
		if ctx.Err() != nil {
			return nil
		}
		if err := liveAndDie(ledgers, url, c.rng.Uint64(), time.Duration(20+c.rng.IntN(400))*time.Millisecond); err != nil {
			return fmt.Errorf("%s, life %d: %w", scheme, life, err)
		}
		if err := checkLeft(url, ledgers); err != nil {
			return fmt.Errorf("%s, after kill %d: %w", scheme, life+1, err)
		}
		t.add("kills of "+scheme, 1)
	}
	return nil
}

// liveAndDie runs a victim until a given time after its first acknowledged call.
func liveAndDie(ledgers []*ledger, url string, seed uint64, life time.Duration) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	known, err := json.Marshal(tellAll(ledgers))
	if err != nil {
		return err
	}
	victim := exec.Command(self, url, strconv.FormatUint(seed, 10))
	victim.Env = append(os.Environ(), proveChild+"=1")
	victim.Stdin = strings.NewReader(string(known))
	var errs strings.Builder
	victim.Stderr = &errs
	out, err := victim.StdoutPipe()
	if err != nil {
		return err
	}
	if err := victim.Start(); err != nil {
		return err
	}
	var once sync.Once
	timer := time.AfterFunc(time.Minute, func() { _ = victim.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		once.Do(func() { timer.Reset(life) })
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			break // the last line was cut short by the kill: the call had not begun
		}
		take(ledgers[l.Writer], l)
	}
	if err := victim.Wait(); victim.ProcessState.Exited() {
		return fmt.Errorf("the victim ended by itself: %w: %s", err, errs.String())
	}
	return nil
}

func take(l *ledger, said line) {
	if said.Acked {
		l.end(nil, said.Revision)
		return
	}
	e := effect{}
	for path, to := range said.Begin {
		e[path] = nil
		if to != nil {
			e[path] = &entry{to.Data, to.Expires}
		}
	}
	l.begin(e)
}

// checkLeft opens the store that a victim left, and determines the outcome of the calls that were in progress.
func checkLeft(url string, ledgers []*ledger) error {
	store, err := openURL(url)
	if err != nil {
		return fmt.Errorf("the store does not start: %w", err)
	}
	defer store.Close()
	if err := checkStore(store, ledgers, viewsOf(ledgers)); err != nil {
		return err
	}
	content, err := contentOf(store)
	if err != nil {
		return err
	}
	for _, l := range ledgers {
		v := l.now()
		settled := view{acked: state{}, revision: v.revision}
		for path, obj := range content {
			if l.own(path) {
				settled.acked[path] = entry{string(obj.Data), obj.Expires}
			}
		}
		l.mu.Lock()
		l.view = settled
		l.mu.Unlock()
	}
	return nil
}

func openURL(url string) (*storage.Layered, error) {
	config, err := engine.Config(url, all.Engines()...)
	if err != nil {
		return nil, err
	}
	store := storage.New(config)
	return store, store.Start(quiet())
}

// tellAll returns what a victim must know of its ledgers.
func tellAll(ledgers []*ledger) []map[string]*told {
	all := make([]map[string]*told, len(ledgers))
	for i, l := range ledgers {
		all[i] = map[string]*told{}
		for path, e := range l.now().acked {
			all[i][path] = &told{e.data, e.expires}
		}
	}
	return all
}

// child is the victim: it writes until it is killed.
func child(args []string) int {
	err := childRun(args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 3
}

func childRun(args []string) error {
	if len(args) == 3 && args[0] == "serve" {
		return serveChild(args[1], args[2])
	}
	if len(args) != 2 {
		return errors.New("expected a URL and a seed")
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var known []map[string]*told
	if err := json.Unmarshal(input, &known); err != nil {
		return err
	}
	store, err := openURL(args[0])
	if err != nil {
		return err
	}
	var mu sync.Mutex // one line at a time, unbuffered: every written line is reported, whatever happens next
	tell := func(l line) error {
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_, err = os.Stdout.Write(append(text, '\n'))
		return err
	}
	errs := make(chan error, len(known))
	for i, content := range known {
		l := newLedger(i)
		for path, to := range content {
			l.view.acked[path] = entry{to.Data, to.Expires}
		}
		go func() { errs <- l.victim(store, rand.New(rand.NewPCG(seed, uint64(i))), seed, tell) }()
	}
	return <-errs
}

// victim makes random calls and reports each of them before and after it.
func (l *ledger) victim(store *storage.Layered, r *rand.Rand, seed uint64, tell func(line) error) error {
	for n := 0; ; n++ {
		c := l.next(r, int(seed%1e6)*1_000_000+n)
		begin := map[string]*told{}
		for path, to := range c.effect {
			begin[path] = nil
			if to != nil {
				begin[path] = &told{to.data, to.expires}
			}
		}
		if err := tell(line{Writer: l.writer, Begin: begin}); err != nil {
			return err
		}
		l.begin(c.effect)
		revision, err := c.do(store)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		l.end(nil, revision)
		if err := tell(line{Writer: l.writer, Acked: true, Revision: revision}); err != nil {
			return err
		}
	}
}
