package command

import (
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// terminal describes the target of an output.
type terminal struct {
	// is reports whether it is a terminal.
	is bool
	// colour reports whether JSON is coloured on it.
	colour bool
	// width is its number of columns at the start.
	width int
	// file is asked for the present width; nil if the width is fixed.
	file *os.File
}

// columns returns the present width of the terminal, whose window may have changed.
func (t terminal) columns() int {
	if t.file != nil {
		if width, _, err := term.GetSize(int(t.file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return t.width
}

// defaultWidth is used if a terminal does not report its width.
const defaultWidth = 80

// terminalOf inspects a stream. Only an open terminal is one.
func terminalOf(stream any) terminal {
	file, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return terminal{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		width = defaultWidth
	}
	return terminal{is: true, colour: wantsColour(os.Getenv), width: width, file: file}
}

// clip shortens text to a number of columns and marks the cut.
func clip(text string, columns int) string {
	if uniseg.StringWidth(text) <= columns {
		return text
	}
	var b strings.Builder
	used, state := 0, -1
	for len(text) > 0 {
		var cluster string
		var width int
		cluster, text, width, state = uniseg.FirstGraphemeClusterInString(text, state)
		if used+width > columns-1 {
			break
		}
		b.WriteString(cluster)
		used += width
	}
	return b.String() + "…"
}

// pad fills text with spaces up to a number of columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-uniseg.StringWidth(text)))
}

// printable makes JSON safe for a terminal and puts it on one line. Control characters, bidirectional controls and
// invalid UTF-8 could move the cursor or hide text, so they are written as JSON escapes.
func printable(json string) string {
	if !strings.ContainsFunc(json, isUnprintable) && utf8.ValidString(json) {
		return json
	}
	var b strings.Builder
	for _, r := range json {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ') // only between tokens: strings contain no unescaped ones
		case isUnprintable(r):
			writeUnicodeEscape(&b, r)
		default:
			b.WriteRune(r) // U+FFFD for invalid UTF-8
		}
	}
	return b.String()
}

// isUnprintable reports control characters and bidirectional controls. Joiners, which many scripts need, are
// printable.
func isUnprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

func writeUnicodeEscape(b *strings.Builder, r rune) {
	const hex = "0123456789abcdef"
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(hex[r>>shift&15])
	}
}

// table writes rows in aligned columns. On a terminal no line exceeds its width: the last column gets the remaining
// room, and if that is small the widest other columns are clipped. Elsewhere columns are separated by tabs and
// nothing is clipped.
func table(out io.Writer, screen terminal, header []string, rows [][]string) error {
	if !screen.is {
		for _, row := range rows {
			if _, err := io.WriteString(out, strings.Join(row, "\t")+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
	last := len(header) - 1
	widths := make([]int, last)
	all := append([][]string{header}, rows...)
	longest := 0
	for _, row := range all {
		for i := range widths {
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
		longest = max(longest, uniseg.StringWidth(row[last]))
	}
	left := fit(widths, screen.columns(), min(longest, minColumn))
	for i, row := range all {
		var line strings.Builder
		for column, width := range widths {
			line.WriteString(pad(clip(row[column], width), width) + "  ")
		}
		fixed := line.String()
		whole := clip(strings.TrimRight(fixed+clip(row[last], left), " "), screen.columns())
		if data, uncut := strings.CutPrefix(whole, fixed); uncut && i > 0 {
			whole = fixed + screen.paint(data)
		}
		if _, err := io.WriteString(out, whole+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// fit narrows the widest columns, but not below minColumn, until least columns are left for the last one. It returns
// the number left.
func fit(widths []int, columns, least int) (left int) {
	for {
		left = columns
		widest := 0
		for i, width := range widths {
			left -= width + 2
			if width > widths[widest] {
				widest = i
			}
		}
		if left >= least || len(widths) == 0 || widths[widest] <= minColumn {
			return max(left, least)
		}
		widths[widest] = max(minColumn, widths[widest]-(least-left))
	}
}

// minColumn is the minimum width of a column on a narrow terminal.
const minColumn = 12
