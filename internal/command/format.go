package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// appendObject appends an object as one line of JSON, in the format of export and import. The data is kept byte for
// byte, except that line breaks between tokens become spaces.
func appendObject(line []byte, obj meta.Object) []byte {
	line = append(line, `{"created":`...)
	line = strconv.AppendInt(line, obj.Created, 10)
	line = append(line, `,"updated":`...)
	line = strconv.AppendInt(line, obj.Updated, 10)
	line = append(line, `,"index":`...)
	line = appendString(line, obj.Index)
	line = append(line, `,"path":`...)
	line = appendString(line, obj.Path)
	line = append(line, `,"data":`...)
	for _, c := range obj.Data {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		line = append(line, c)
	}
	if obj.Revision != 0 {
		line = append(line, `,"revision":`...)
		line = strconv.AppendUint(line, obj.Revision, 10)
	}
	if obj.Expires != 0 {
		line = append(line, `,"expires":`...)
		line = strconv.AppendInt(line, obj.Expires, 10)
	}
	return append(line, "}\n"...)
}

// appendString appends a path or an index, which needs no escaping in JSON.
func appendString(line []byte, text string) []byte {
	line = append(line, '"')
	line = append(line, text...)
	return append(line, '"')
}

// writeObjects writes objects as JSON Lines.
func writeObjects(out io.Writer, objects ...meta.Object) error {
	var line []byte
	for _, obj := range objects {
		line = appendObject(line[:0], obj)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON writes any value as one line of JSON.
func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// The layouts of times, always UTC, as --from and --to accept them.
const (
	screenTime = "2006-01-02T15:04:05.000Z07:00"
	exactTime  = "2006-01-02T15:04:05.000000000Z07:00"
)

// formatTime formats a time of the store: exact, or in milliseconds on a terminal.
func formatTime(nanoseconds int64, screen terminal) string {
	layout := exactTime
	if screen.is {
		layout = screenTime
	}
	return time.Unix(0, nanoseconds).UTC().Format(layout)
}

// thousands writes a count with separators: 171,075.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(digits) - 3; i > start; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// plural counts things: "1 object", "2 objects".
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(n) + " " + thing + "s"
}

// humanBytes writes a size with a decimal unit.
func humanBytes(n int64) string {
	size, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	for _, unit := range units {
		size /= 1000
		if size < 999.95 || unit == units[len(units)-1] {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
	}
	return ""
}
