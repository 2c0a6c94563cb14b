package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// absent is the value of a register that holds nothing.
const absent = -1

// registers are the values of some registers.
type registers [few]int

func noRegisters() (all registers) {
	for i := range all {
		all[i] = absent
	}
	return all
}

func register(i int) string { return fmt.Sprint("register/", i) }

// call is a call on the registers, for its history.
type call struct {
	writer     int
	kind       string
	at         int       // the register, for calls on one register
	found      int       // what the call found there, or required
	value      int       // what it put there
	all        registers // what a list found
	began, end time.Time
}

// linearModel is what the registers hold.
var linearModel = porcupine.Model{
	Init: func() any { return noRegisters() },
	Step: func(state, input, _ any) (bool, any) {
		all, c := state.(registers), input.(call)
		fits := true
		switch c.kind {
		case "set":
			all[c.at] = c.value
		case "update", "swap": // what it found is the value at the instant of its write
			fits = all[c.at] == c.found
			all[c.at] = c.value
		case "refused": // a conflict: the register held something else
			fits = all[c.at] != c.found
		case "get":
			fits = all[c.at] == c.found
		case "list":
			fits = all == c.all
		case "batch":
			for i := range all {
				all[i] = c.value
			}
		case "delete":
			all = noRegisters()
		}
		return fits, all
	},
}

// linearizable checks the history of the registers against the model.
func (r *round) linearizable() error {
	operations := make([]porcupine.Operation, len(r.history))
	for i, c := range r.history {
		operations[i] = porcupine.Operation{ClientId: c.writer, Input: c, Call: c.began.UnixNano(), Return: c.end.UnixNano()}
	}
	switch porcupine.CheckOperationsTimeout(linearModel, operations, time.Minute) {
	case porcupine.Ok:
		r.tally.add("histories in order", 1)
	case porcupine.Unknown:
		r.tally.add("histories too long to judge", 1)
	default:
		return fmt.Errorf("no order explains the %d calls of the registers", len(operations))
	}
	return nil
}

// register makes a call on the registers, and records it. A call that is rejected because the engine is lost has no
// position in the order.
func (r *round) register(s *storage.Layered, writer, value int) (err error) {
	c := call{writer: writer, at: rand.IntN(few), found: absent, value: value, began: time.Now()}
	switch rand.IntN(9) {
	case 0, 1:
		c.kind = "set"
		_, err = s.Set(register(c.at), json.RawMessage(strconv.Itoa(value)))
	case 2:
		c.kind = "update"
		_, err = s.Update(register(c.at), func(old meta.Object) (_ json.RawMessage, err error) {
			if c.found = absent; len(old.Data) > 0 {
				c.found, err = number(old.Data)
			}
			return json.RawMessage(strconv.Itoa(value)), err
		})
	case 3, 4:
		err = r.swapRegister(s, &c)
	case 5:
		c.kind = "batch"
		var batch storage.Batch
		for i := range few {
			batch.Set(register(i), json.RawMessage(strconv.Itoa(value)))
		}
		_, err = s.Commit(&batch)
	case 6:
		if c.kind = "delete"; rand.IntN(3) > 0 { // otherwise there would rarely be something
			return nil
		}
		err = s.Del("register/*")
	case 7:
		c.kind = "list"
		if err = s.Barrier(context.Background()); err != nil {
			return err
		}
		c.all, err = listRegisters(s)
	default:
		c.kind = "get"
		if err = s.Barrier(context.Background()); err != nil {
			return err
		}
		c.found, _, err = getRegister(s, c.at)
	}
	c.end = time.Now()
	if err == nil {
		r.acknowledge(func() { r.history = append(r.history, c) })
		r.tally.add("calls in histories", 1)
	}
	return err
}

// swapRegister is a compare-and-set of the node's value, which may be outdated.
func (r *round) swapRegister(s *storage.Layered, c *call) error {
	c.kind = "swap"
	var revision uint64
	var err error
	if c.found, revision, err = getRegister(s, c.at); err != nil {
		return err
	}
	_, err = s.SetWith(register(c.at), json.RawMessage(strconv.Itoa(c.value)), storage.SetOptions{IfRevision: revision, IfAbsent: revision == 0})
	if errors.Is(err, storage.ErrConflict) {
		c.kind, err = "refused", nil
	}
	return err
}

func getRegister(s *storage.Layered, at int) (value int, revision uint64, err error) {
	obj, err := s.Get(register(at))
	if errors.Is(err, storage.ErrNotFound) {
		return absent, 0, nil
	}
	if err == nil {
		value, err = number(obj.Data)
	}
	return value, obj.Revision, err
}

func listRegisters(s *storage.Layered) (all registers, err error) {
	list, err := s.GetList("register/*")
	all = noRegisters()
	for _, obj := range list {
		at, wrong := strconv.Atoi(obj.Index)
		n, broken := number(obj.Data)
		if err = errors.Join(err, wrong, broken); err == nil {
			all[at] = n
		}
	}
	return all, err
}

// look reads registers without a barrier until over: the values that a node shows never go back.
func (r *round) look(node int, over <-chan struct{}) {
	var last [few]uint64
	for at := 0; ; at = (at + 1) % few {
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
		}
		r.gates[node].RLock()
		value, revision, err := getRegister(r.stores[node], at)
		r.gates[node].RUnlock()
		switch {
		case errors.Is(err, storage.ErrNotActive): // the round is over
			return
		case err != nil:
			r.fail("a read of node %d: %w", node, err)
			return
		case revision == 0:
			continue
		case revision < last[at]:
			r.fail("node %d shows revision %d of %s behind %d", node, revision, register(at), last[at])
			return
		}
		last[at] = revision
		r.acks.Lock()
		r.seen[value] = true
		r.acks.Unlock()
		r.tally.add("reads without a barrier", 1)
	}
}

// checkSeen checks that every value read without a barrier was acknowledged, or was about to be.
func (r *round) checkSeen() error {
	put := make(map[int]bool)
	for _, c := range r.history {
		put[c.value] = true
	}
	for value := range r.seen {
		if !put[value] {
			return fmt.Errorf("somebody read %d in a register, and nobody was told that it is there", value)
		}
	}
	return nil
}
