package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// tally counts what a campaign did, by name. It may be used concurrently.
type tally struct {
	mu     sync.Mutex // guards the fields below
	order  []string
	counts map[string]int
}

func (t *tally) add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	if !slices.Contains(t.order, name) {
		t.order = append(t.order, name)
	}
	t.counts[name] += n
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := make([]string, len(t.order))
	for i, name := range t.order {
		parts[i] = fmt.Sprintf("%d %s", t.counts[name], name)
	}
	return strings.Join(parts, ", ")
}
