package patch

import (
	"errors"
	"fmt"
	"slices"
)

// operation is one operation of a JSON Patch, validated as far as possible without a document.
type operation struct {
	op         string
	path, from pointer
	value      *value // of add, replace and test; read-only
}

// needs lists the members of each operation besides path.
var needs = map[string]struct{ value, from bool }{
	"add": {value: true}, "remove": {}, "replace": {value: true},
	"move": {from: true}, "copy": {from: true}, "test": {value: true},
}

// parseOperations parses a JSON Patch.
func parseOperations(patch []byte) ([]operation, error) {
	document, err := parsePatch(patch)
	if err != nil {
		return nil, err
	}
	if document.kind != array {
		return nil, fmt.Errorf("%w, expected an array of operations", ErrInvalidPatch)
	}
	if document.items.len() > MaxOperations {
		return nil, fmt.Errorf("%w, %d operations, at most %d", ErrLimit, document.items.len(), MaxOperations)
	}
	operations := make([]operation, document.items.len())
	for i := range operations {
		item := document.items.at(i)
		if operations[i], err = parseOperation(item); err != nil {
			if !errors.Is(err, ErrLimit) {
				err = fmt.Errorf("%w, %w", ErrInvalidPatch, err)
			}
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return operations, nil
}

func parseOperation(item *value) (o operation, err error) {
	if item.kind != object {
		return o, errors.New("expected an object")
	}
	if item.twice != "" {
		return o, fmt.Errorf("it has the member %s twice", clip(item.twice))
	}
	if o.op, err = item.stringMember("op"); err != nil {
		return o, err
	}
	need, known := needs[o.op]
	if !known {
		return o, fmt.Errorf("op is %s, expected add, remove, replace, move, copy or test", clip(o.op))
	}
	if o.path, err = item.pointerMember("path"); err != nil {
		return o, err
	}
	if need.from {
		if o.from, err = item.pointerMember("from"); err != nil {
			return o, err
		}
	}
	if need.value {
		if o.value = item.get("value"); o.value == nil {
			return o, errors.New(`no member "value"`)
		}
	}
	switch {
	case o.op == "remove" && o.path == nil:
		return o, errors.New("the whole document cannot be removed; delete the object instead")
	case o.op == "move" && o.from.isProperPrefixOf(o.path):
		return o, fmt.Errorf("it moves %s into itself", clip(o.from.String()))
	}
	return o, nil
}

func (v *value) stringMember(name string) (string, error) {
	m := v.get(name)
	switch {
	case m == nil:
		return "", fmt.Errorf("no member %q", name)
	case m.kind != scalar || m.text[0] != '"':
		return "", fmt.Errorf("%s is not a string", name)
	}
	return unquote(m.text), nil
}

func (v *value) pointerMember(name string) (pointer, error) {
	text, err := v.stringMember(name)
	if err != nil {
		return nil, err
	}
	p, err := parsePointer(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// applyTo applies operations to a document in order.
func applyTo(document []byte, operations []operation) ([]byte, error) {
	root, err := parse(document)
	if err != nil {
		return nil, err
	}
	p := application{root: root, copied: MaxCopied}
	for i := range operations {
		o := &operations[i]
		if err := p.apply(o); err != nil {
			if errors.Is(err, ErrLimit) {
				return nil, fmt.Errorf("operation %d, %s %s: %w", i, o.op, clip(o.path.String()), err)
			}
			return nil, &OperationError{Index: i, Op: o.op, Path: o.path.String(), Err: err}
		}
	}
	return p.root.encode()
}

// application is a JSON Patch that is being applied.
type application struct {
	root   *value
	copied int // remaining bytes that may be copied
}

func (p *application) apply(o *operation) error {
	switch o.op {
	case "add":
		return p.add(o.path, o.value.clone())
	case "remove":
		_, err := p.remove(o.path)
		return err
	case "replace":
		return p.replace(o.path, o.value.clone())
	case "move":
		return p.move(o.from, o.path)
	case "copy":
		return p.copy(o.from, o.path)
	default:
		return p.test(o.path, o.value)
	}
}

// add adds a member, new or not, or inserts an item before the index, or appends it for "-".
func (p *application) add(to pointer, v *value) error {
	if to == nil {
		p.root = v
		return nil
	}
	parent, name, err := p.parent(to)
	if err != nil {
		return err
	}
	if parent.kind == object {
		parent.set(name, quote(name), v)
		return nil
	}
	at := parent.items.len()
	if name != "-" {
		if at, err = index(name, at); err != nil {
			return err
		}
	}
	parent.items.insert(at, v)
	return nil
}

// parent returns the object or array that contains a place other than the root, and the last token of the place.
func (p *application) parent(of pointer) (*value, string, error) {
	last := len(of) - 1
	parent, err := of[:last].in(p.root)
	if err == nil && parent.kind == scalar {
		err = fmt.Errorf("expected an object or an array as its parent, found %s", clip(string(parent.text)))
	}
	return parent, of[last], err
}

// remove removes the value at a place other than the root.
func (p *application) remove(at pointer) (*value, error) {
	parent, name, err := p.parent(at)
	if err != nil {
		return nil, err
	}
	if parent.kind == object {
		v := parent.get(name)
		if !parent.remove(name) {
			return nil, errNothingThere
		}
		return v, nil
	}
	i, err := index(name, parent.items.len()-1)
	if err != nil {
		return nil, err
	}
	return parent.items.remove(i), nil
}

// replace replaces an existing value.
func (p *application) replace(at pointer, v *value) error {
	old, err := at.in(p.root)
	if err == nil {
		*old = *v
	}
	return err
}

func (p *application) move(from, to pointer) error {
	if slices.Equal(from, to) {
		_, err := from.in(p.root)
		return err
	}
	v, err := p.remove(from)
	if err != nil {
		return fmt.Errorf("from %s: %w", clip(from.String()), err)
	}
	return p.add(to, v)
}

func (p *application) copy(from, to pointer) error {
	v, err := from.in(p.root)
	if err != nil {
		return fmt.Errorf("from %s: %w", clip(from.String()), err)
	}
	if p.copied -= v.length(p.copied, 0); p.copied < 0 {
		return fmt.Errorf("%w, copies of more than %d bytes, or more than %d levels", ErrLimit, MaxCopied, MaxDepth)
	}
	return p.add(to, v.clone())
}

func (p *application) test(at pointer, want *value) error {
	v, err := at.in(p.root)
	if err != nil {
		return fmt.Errorf("%w, %w", ErrTestFailed, err)
	}
	if !v.equal(want) {
		return ErrTestFailed
	}
	return nil
}
