package patch

import (
	"fmt"
	"strconv"
)

// AssignJSON returns the result of the older merge of the ecosystem on a document: the patch is an object, and each of its
// members sets the member of its name. An object in it goes deeper: into an object, or into the items of an array by their
// index. Null is a value like any other, which a JSON Merge Patch (MergeJSON) cannot set. What is no object does
// not take the place of one, but for null: that is ErrInvalidPatch, as is a patch that is no object, and the index of an item
// that there is not.
func AssignJSON(document, patch []byte) ([]byte, error) {
	change, err := parsePatch(patch)
	if err != nil {
		return nil, err
	}
	if change.kind != object {
		return nil, fmt.Errorf("%w, it is not an object", ErrInvalidPatch)
	}
	target, err := parse(document)
	if err != nil {
		return nil, err
	}
	if target, err = assign(target, change, ""); err != nil {
		return nil, err
	}
	return target.encode()
}

// assign returns the result of a patch on a target, nil for none, which it changes. It is told the name of the target.
func assign(target, patch *value, name string) (*value, error) {
	switch {
	case patch.kind != object && !patch.isNull() && target != nil && target.kind == object:
		return nil, fmt.Errorf("%w, patch value must be object for key %s", ErrInvalidPatch, clip(name))
	case patch.kind != object || target == nil || target.kind == scalar:
		return patch, nil
	}
	for i := range patch.members {
		m := &patch.members[i]
		if m.value == nil {
			continue // overruled by a later one of the same name
		}
		if target.kind == array {
			at, err := strconv.Atoi(m.name)
			if err != nil || at < 0 || at >= target.items.len() || strconv.Itoa(at) != m.name {
				return nil, fmt.Errorf("%w, the array %s has no item %s", ErrInvalidPatch, clip(name), clip(m.name))
			}
			item := target.items.at(at)
			changed, err := assign(item, m.value, m.name)
			if err != nil {
				return nil, err
			}
			*item = *changed
			continue
		}
		changed, err := assign(target.get(m.name), m.value, m.name)
		if err != nil {
			return nil, err
		}
		target.set(m.name, m.quoted, changed)
	}
	return target, nil
}
