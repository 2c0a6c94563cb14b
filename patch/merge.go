package patch

// mergeInto applies a merge patch to a document, or to none when that is empty.
func mergeInto(document []byte, patch *value) ([]byte, error) {
	var target *value
	if len(document) > 0 {
		var err error
		if target, err = parse(document); err != nil {
			return nil, err
		}
	}
	return merge(target, patch).encode()
}

// merge applies a patch to a target, nil for none: the function MergePatch of RFC 7396, section 2. It changes the
// target and shares nothing with the patch.
func merge(target, patch *value) *value {
	if patch.kind != object {
		return patch.clone()
	}
	if target == nil || target.kind != object {
		target = &value{kind: object}
	}
	for i := range patch.members {
		m := &patch.members[i]
		switch {
		case m.value == nil: // overruled by a later one of the same name
		case m.value.isNull():
			target.remove(m.name)
		default:
			target.set(m.name, m.quoted, merge(target.get(m.name), m.value))
		}
	}
	return target
}
