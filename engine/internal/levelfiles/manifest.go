package levelfiles

// ManifestRecords calls a function for each complete record of a manifest of LevelDB's format, up to the first
// incomplete one, and returns the end of the last complete one. The function must not keep the record.
func ManifestRecords(content []byte, visit func(record []byte)) (end int) {
	var record []byte
	within := false
	for at := 0; at < len(content); {
		block := content[at:min(len(content), at-at%LogBlock+LogBlock)]
		if LogBlock-at%LogBlock < MinLogHeader {
			at += len(block) // padded with zeros
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

// Damage returns the position of the first broken chunk of a manifest or a log of LevelDB that is followed by a valid
// beginning of a record, or -1. A crash cuts only the last record short, because each record is synced before the
// next is written: such a chunk is therefore damage. The end of a record after a broken chunk is not damage: any part
// of a long record that a crash cut short may have reached the disk.
func Damage(content []byte) int {
	within, broken := false, -1
	for at := 0; at < len(content); {
		block := content[at:min(len(content), at-at%LogBlock+LogBlock)]
		if len(block) < MinLogHeader { // padded with zeros
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
		at += max(chunk.Size, 1) // after a broken chunk, a valid one may begin at any byte
	}
	return -1
}
