package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/patch"
)

// wireProtocol is the older protocol: a list, or one object.
type wireProtocol struct{}

func (wireProtocol) name() string { return "the older protocol" }

func (wireProtocol) follow(f *follower, conn net.Conn) error {
	f.mu.Lock()
	target := "/" + f.patterns[0]
	if f.token != "" {
		target += "?v=" + f.token
	}
	f.mu.Unlock()
	in, err := dialSocket(f, conn, target, "bearer")
	if err != nil {
		return err
	}
	for {
		payload, err := in.next(ws.OpBinary)
		if err != nil {
			return err
		}
		var m wireMessage
		if err := decode(payload, &m); err != nil {
			return err
		}
		f.messages.Add(1)
		if err := f.takeWire(&m); err != nil {
			return fmt.Errorf("%w: %.300s", err, payload)
		}
	}
}

type wireMessage struct {
	Snapshot bool
	Version  string
	Data     json.RawMessage
}

// wireState is the received state: the objects of a list, newest first, or the text of one object.
type wireState struct {
	list []streamObject
	text []byte
}

// takeWire checks and processes a message. A client whose version was current continues with the state that it holds.
func (f *follower) takeWire(m *wireMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Version == f.token {
		return fmt.Errorf("the version %s comes twice", m.Version)
	}
	f.token = m.Version
	list := key.HasGlob(f.patterns[0])
	switch {
	case m.Snapshot && list:
		f.wire = &wireState{}
		if err := decode(m.Data, &f.wire.list); err != nil {
			return err
		}
		return f.takeWireState(f.wire.list)
	case m.Snapshot:
		f.wire = &wireState{text: slices.Clone(m.Data)}
		objects, err := oneObject(m.Data)
		if err != nil {
			return err
		}
		return f.takeWireState(objects)
	case f.wire == nil:
		return errors.New("a patch of a state that was never told")
	case list:
		return f.patchList(m.Data)
	}
	return f.patchObject(m.Data)
}

// oneObject returns the object of a state; none if it is absent.
func oneObject(text []byte) ([]streamObject, error) {
	var obj streamObject
	if err := decode(text, &obj); err != nil || obj.Path == "" {
		return nil, err
	}
	return []streamObject{obj}, nil
}

func (f *follower) takeWireState(objects []streamObject) error {
	f.states++
	there := map[string]bool{}
	for _, obj := range objects {
		there[obj.Path] = true
		if err := f.is(obj.Path, obj.Data.N); err != nil {
			return err
		}
	}
	f.onlyThese(f.patterns[0], there)
	return nil
}

// patchList applies the patch of a list: whole objects, by their positions.
func (f *follower) patchList(text []byte) error {
	var ops []struct {
		Op, Path string
		Value    *streamObject
	}
	if err := decode(text, &ops); err != nil {
		return err
	}
	if len(ops) == 0 {
		return errors.New("a patch that changes nothing")
	}
	list := f.wire.list
	for _, op := range ops {
		at, err := strconv.Atoi(strings.TrimPrefix(op.Path, "/"))
		if err != nil || at < 0 || at > len(list) || at == len(list) && op.Op != "add" || (op.Value == nil) != (op.Op == "remove") {
			return fmt.Errorf("the operation %+v of a list of %d", op, len(list))
		}
		switch op.Op {
		case "remove":
			err = f.removed(list[at].Path)
			list = slices.Delete(list, at, at+1)
		case "replace":
			if list[at].Path != op.Value.Path {
				return fmt.Errorf("%s replaces %s", op.Value.Path, list[at].Path)
			}
			err = f.changed(op.Value.Path, op.Value.Data.N)
			list[at] = *op.Value
		case "add":
			err = f.changed(op.Value.Path, op.Value.Data.N)
			list = slices.Insert(list, at, *op.Value)
		default:
			return fmt.Errorf("the operation %q", op.Op)
		}
		if err != nil {
			return err
		}
	}
	f.wire.list = list
	return nil
}

// patchObject applies the patch of one object, which is rooted at the object.
func (f *follower) patchObject(change []byte) error {
	before, err := oneObject(f.wire.text)
	if err != nil {
		return err
	}
	if f.wire.text, err = patch.ApplyJSON(f.wire.text, change); err != nil {
		return err
	}
	after, err := oneObject(f.wire.text)
	switch {
	case err != nil:
		return err
	case len(after) > 0:
		return f.changed(after[0].Path, after[0].Data.N)
	case len(before) > 0:
		return f.removed(before[0].Path)
	}
	return errors.New("a patch that changes nothing")
}
