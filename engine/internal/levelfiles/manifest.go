package levelfiles

// ManifestRecords calls a function for each whole record of a manifest of LevelDB's format, up to the first that is
// not whole, and returns where the last whole one ends. The function keeps nothing of the record.
func ManifestRecords(content []byte, visit func(record []byte)) (end int) {
	var record []byte
	within := false
	for at := 0; at < len(content); {
		block := content[at:min(len(content), at-at%LogBlock+LogBlock)]
		if LogBlock-at%LogBlock < MinLogHeader {
			at += len(block) // filled with zeros
			continue
		}
		chunk := SoundChunk(block)
		if chunk.Size == 0 || chunk.Begins == within {
			break
		}
		at += chunk.Size
		if chunk.Begins {
			record = record[:0]
		}
		record = append(record, chunk.Payload...)
		if within = !chunk.Ends; !within {
			visit(record)
			end = at
		}
	}
	return end
}

// Damage returns where the first broken chunk of a manifest or a log of LevelDB is that a sound beginning of a record
// follows, or -1. A crash cuts only the last record short, because each is synced before the next is written: so that is damage. The
// end of a record behind a broken chunk is none: a long record that a crash cut short may have reached the disk in any
// part.
func Damage(content []byte) int {
	within, broken := false, -1
	for at := 0; at < len(content); {
		block := content[at:min(len(content), at-at%LogBlock+LogBlock)]
		if len(block) < MinLogHeader { // filled with zeros
			at += len(block)
			continue
		}
		chunk := SoundChunk(block)
		if broken < 0 && (chunk.Size == 0 || chunk.Begins == within) {
			broken = at
		}
		if chunk.Begins && broken >= 0 {
			return broken
		}
		within = chunk.Size > 0 && !chunk.Ends
		at += max(chunk.Size, 1) // behind a broken one, any byte may be where a sound one begins
	}
	return -1
}
