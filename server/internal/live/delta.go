package live

import (
	"strconv"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/storage"
)

// delta is the change of a topic by one commit, and its messages, each of which is made once.
type delta struct {
	topic    *topic
	revision uint64
	ops      []op
	wire     *frame
	part     *frame // the content for our own protocols, without the envelope
	// whole are the messages with only this delta, by subscription id, since the clients of one program mostly use
	// the same id.
	whole []wholeFrame
}

type wholeFrame struct {
	id       string
	protocol protocol
	frame    *frame
}

// mostWhole is the number of ids that are searched.
const mostWhole = 4

// newDelta returns the delta of a topic after ops. A reconnecting client may hold objects that are unknown to the
// topic; our own protocols send their removal, which other clients ignore. The hub's mu is held.
func newDelta(t *topic, revision uint64, ops []op, unknown []change) *delta {
	d := &delta{topic: t, revision: revision, ops: ops}
	size := 60 * (1 + len(unknown))
	for _, o := range ops {
		size += 60
		if o.kind != opRemove {
			size += sizeOf(o.object)
		}
	}
	version := t.versions.of(t.pattern, revision)
	switch {
	case len(ops) == 0: // no step of the older protocol
	case t.list && len(t.objects) == 0 && len(ops) > 1:
		// A list emptied by a glob delete is sent as a state, and so is the list of a pattern that it names.
		d.wire = t.snapshot().wire
	case t.list:
		d.wire = newFrame(t.stats, size, func() [][]byte {
			return wireMessage(false, version, func(dst []byte) []byte { return appendArray(dst, ops, appendListOp) })
		})
	default:
		d.wire = objectFrame(t, version, size, ops)
	}
	d.part = newFrame(t.stats, size, func() [][]byte {
		part := append([]byte(`"pattern":`), appendText(nil, t.pattern)...)
		return [][]byte{appendArray(append(part, `,"changes":`...), append(changesOf(ops), unknown...), appendChange)}
	})
	return d
}

// changesOf converts ops into changes. An object that moves in its list is removed and added; only the addition is
// sent.
func changesOf(ops []op) []change {
	changes := make([]change, 0, len(ops))
	for _, o := range ops {
		changes = append(changes, change{o.object, o.kind == opRemove, o.reason, o.revision})
	}
	return changes
}

func appendChange(dst []byte, c change) []byte {
	if c.removed {
		dst = append(dst, `{"del":`...)
		dst = appendText(dst, c.object.Path)
		if c.revision != 0 {
			dst = strconv.AppendUint(append(dst, `,"revision":`...), c.revision, 10)
		}
		if c.reason != storage.ReasonNone {
			dst = appendText(append(dst, `,"reason":`...), c.reason.String())
		}
	} else {
		dst = append(dst, `{"set":`...)
		dst = appendObject(dst, c.object)
	}
	return append(dst, '}')
}

// wireMessage builds a message of the older protocol: a binary frame.
func wireMessage(state bool, version string, data func([]byte) []byte) [][]byte {
	message := append([]byte(nil), `{"snapshot":`...)
	message = strconv.AppendBool(message, state)
	message = append(message, `,"version":"`...)
	message = append(message, version...)
	message = append(message, `","data":`...)
	return webSocket(ws.OpBinary, append(data(message), '}'))
}

// appendListOp appends a step of a list as a JSON Patch operation: whole objects, newest first.
func appendListOp(dst []byte, o op) []byte {
	name := [...]string{opRemove: "remove", opAdd: "add", opReplace: "replace"}[o.kind]
	dst = append(dst, `{"op":"`...)
	dst = append(dst, name...)
	dst = append(dst, `","path":"/`...)
	dst = strconv.AppendInt(dst, int64(o.place), 10)
	dst = append(dst, '"')
	if o.kind != opRemove {
		dst = append(dst, `,"value":`...)
		dst = appendWire(dst, o.object)
	}
	return append(dst, '}')
}

// objectFrame builds the message for a change of one object: a state for a creation, otherwise a patch of the object.
func objectFrame(t *topic, version string, size int, ops []op) *frame {
	last := ops[len(ops)-1]
	return newFrame(t.stats, size, func() [][]byte {
		if last.kind != opAdd {
			if patch, ok := objectPatch(last); ok {
				return wireMessage(false, version, func(dst []byte) []byte { return append(dst, patch...) })
			}
		}
		return wireMessage(true, version, func(dst []byte) []byte {
			if last.kind == opRemove {
				return appendWire(dst, nil)
			}
			return appendWire(dst, last.object)
		})
	})
}

// removal is the patch that results in exactly the absent object.
const removal = `[{"op":"replace","path":"/created","value":0},{"op":"replace","path":"/updated","value":0},` +
	`{"op":"replace","path":"/index","value":""},{"op":"replace","path":"/data","value":{}},{"op":"remove","path":"/path"}]`

// objectPatch returns the JSON Patch of a replacement or a removal, or false if clients cannot apply one.
func objectPatch(o op) ([]byte, bool) {
	if o.kind == opRemove {
		return []byte(removal), true
	}
	before, after := appendData(nil, o.before.Data), appendData(nil, o.object.Data)
	var d difference
	d.compare("/data", before, after, 0)
	if d.unsafe {
		return nil, false
	}
	if len(d.ops) > len(after)+40 { // the whole data is shorter
		d = difference{}
		d.add("replace", "/data", after)
	}
	if o.before.Updated != o.object.Updated || len(d.ops) == 0 {
		d.add("replace", "/updated", strconv.AppendInt(nil, o.object.Updated, 10))
	}
	return append(append([]byte{'['}, d.ops...), ']'), true
}

// frameFor returns the message for a connection that follows nothing else that the commit changed.
func (d *delta) frameFor(l *Live, m *member) *frame {
	p := m.conn.protocol
	if p == wire {
		return d.wire
	}
	for i := range d.whole {
		if w := &d.whole[i]; w.protocol == p && w.id == m.id {
			return w.frame
		}
	}
	f := l.message(p, "patch", d.revision, "", []part{{m, d.part}})
	if len(d.whole) < mostWhole {
		d.whole = append(d.whole, wholeFrame{m.id, p, f})
	}
	return f
}

// part is the content of a message of our own protocols for one subscription.
type part struct {
	member *member
	body   *frame
}

// message builds a message of our own protocols: one commit or one state for any number of subscriptions.
func (l *Live) message(p protocol, kind string, revision uint64, extra string, parts []part) *frame {
	size := 80
	ids := make([]string, len(parts))
	for i, one := range parts {
		size += one.body.size + 20
		ids[i] = one.member.id
	}
	at := token{l.StoreID(), revision}.String()
	if kind == "reset" { // the state has not arrived yet, so a client that loses the connection now resumes from before it
		at = ""
	}
	build := func() [][]byte {
		head := append(append([]byte(`{"type":"`), kind...), '"')
		if at != "" {
			head = append(append(append(head, `,"token":"`...), at...), '"')
		}
		head = append(head, `,"revision":`...)
		head = strconv.AppendUint(head, revision, 10)
		head = append(append(head, extra...), `,"subscriptions":[`...)
		body := [][]byte{head}
		for i, one := range parts {
			open := `{"id":`
			if i > 0 {
				open = `,{"id":`
			}
			body = append(body, []byte(open+ids[i]+","))
			body = append(body, one.body.bytes()...)
			body = append(body, []byte{'}'})
		}
		return p.pack(kind, at, append(body, []byte("]}")))
	}
	return newFrame(&l.stats, size, build)
}

// pack wraps a message in the envelope of its protocol.
func (p protocol) pack(kind, at string, body [][]byte) [][]byte {
	if p == socket {
		return webSocket(ws.OpText, body...)
	}
	head := "event: " + kind + "\ndata: "
	if at != "" {
		head = "id: " + at + "\n" + head
	}
	packed := append([][]byte{[]byte(head)}, body...)
	return append(packed, []byte("\n\n"))
}
