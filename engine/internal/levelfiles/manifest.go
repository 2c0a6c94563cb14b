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
