package patch

import (
	"fmt"
	"strconv"
)

// AssignJSON applies the merge of older clients to a document. The patch is an object, and each of its members sets
// the member with the same name. An object in the patch is applied recursively, to an object or, by index, to the
// items of an array. Null is an ordinary value, which a JSON Merge Patch (MergeJSON) cannot set. ErrInvalidPatch is
// returned for a patch that is not an object, for the index of a missing item, and for a value other than an object
// or null in place of an object.
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

// assign applies a patch to a target, nil for none, and changes it. It knows the name of the target.
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
			continue // overridden by a later member with the same name
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
