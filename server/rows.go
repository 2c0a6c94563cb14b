package server

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A window of a list with truncated data and the length of the whole list, for clients that browse the store.

const (
	// rowsLimit is the default number of rows, mostRows the maximum.
	rowsLimit, mostRows = 100, 1000
	// clipData is the default length at which data is truncated, mostClip the maximum.
	clipData, mostClip = 1000, 64 << 10
	// searchStep is how many objects a search looks at in one instant, searchSteps how many steps an answer has, and
	// searchBytes the size of data after which it ends earlier.
	searchStep, searchSteps, searchBytes = 2000, 10, 32 << 20
)

// rowsQuery is a request for rows.
type rowsQuery struct {
	pattern string
	list    storage.ListOptions
	text    []byte // in lower case; nil for no search
	clip    int
	hidden  int // number of matching objects of the server's own
}

// rows answers /~/rows. If the length of the list is known without looking at its objects, the rows are ranked:
// "total" is exact, and the parameter at works. Otherwise the answer is the first matches and a cursor.
func (c *call) rows() error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	q, err := c.rowsQuery()
	if err != nil {
		return err
	}
	if err := c.requireAllowed(Read, q.pattern); err != nil {
		return err
	}
	total, ranked, err := c.s.rank(&q)
	if err != nil {
		return err
	}
	out := append([]byte(`{"pattern":"`+q.pattern), '"')
	if ranked {
		out = strconv.AppendInt(append(out, `,"total":`...), int64(total), 10)
	} else if q.list.Offset > 0 {
		return badParameter("at", "this list is found by searching and has no ranks, expected a cursor")
	}
	at := q.list.Offset
	found, err := c.search(q, !ranked)
	if err != nil {
		return err
	}
	out = strconv.AppendInt(append(out, `,"at":`...), int64(at), 10)
	out = strconv.AppendUint(append(out, `,"revision":`...), found.revision, 10)
	out = strconv.AppendInt(append(out, `,"examined":`...), int64(found.examined), 10)
	if found.next != "" && !ranked {
		out = strconv.AppendQuote(append(out, `,"next":`...), found.next)
	}
	out = append(out, `,"rows":[`...)
	for i := range found.objects {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendRow(out, &found.objects[i], q.clip)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	c.write(http.StatusOK, "application/json", append(out, "]}\n"...))
	return nil
}

// rowsQuery parses the parameters of rows.
func (c *call) rowsQuery() (q rowsQuery, err error) {
	query, err := c.parameters("pattern", "limit", "cursor", "at", "order", "from", "to", "text", "clip")
	if err != nil {
		return q, err
	}
	if q.pattern, err = patternParameter(query); err != nil {
		return q, err
	}
	if q.list, err = listOptions(query, mostRows); err != nil {
		return q, err
	}
	if q.list.Limit == 0 {
		q.list.Limit = rowsLimit
	}
	if text := query.Get("text"); text != "" {
		q.text = lowerASCII(nil, text)
	}
	q.clip = clipData
	if text := query.Get("clip"); query.Has("clip") {
		if q.clip, err = strconv.Atoi(text); err != nil || q.clip < 0 || q.clip > mostClip {
			return q, badParameter("clip", "%q, expected 0 to %d bytes", clip(text), mostClip)
		}
	}
	return q, nil
}

func patternParameter(query url.Values) (string, error) {
	pattern := query.Get("pattern")
	if pattern == "" {
		return "", badParameter("pattern", "it is missing, expected a pattern such as a/* or a/**")
	}
	if err := key.Check(pattern); err != nil {
		return "", badParameter("pattern", "%q: %v", clip(pattern), err)
	}
	if !key.HasGlob(pattern) {
		return "", badParameter("pattern", "%q is the path of one object, expected a pattern such as %s/*", clip(pattern), clip(pattern))
	}
	return pattern, nil
}

// rank returns the number of rows, or false if it is known only by looking at the objects.
func (s *Server) rank(q *rowsQuery) (total int, ranked bool, err error) {
	if q.text != nil || s.opt.View != nil {
		return 0, false, nil
	}
	if reaches(q.pattern) {
		if q.hidden, err = s.store.Count(reservedPart(q.pattern)); err != nil {
			return 0, false, err
		}
	}
	if q.list.From == nil && q.list.To == nil {
		total, err = s.store.Count(q.pattern)
		return max(0, total-q.hidden), err == nil, err
	}
	if key.HasGlob(key.Parent(q.pattern)) || !key.IsGlob(q.pattern) {
		return 0, false, nil
	}
	total, err = s.countRange(q)
	return total, err == nil, err
}

// reservedPart returns the part of a pattern that covers the server's own objects.
func reservedPart(pattern string) string {
	if _, rest, deep := cutFirst(pattern); deep {
		return reserved + "/" + rest
	}
	return reserved + "/**" // the pattern is **
}

func cutFirst(pattern string) (first, rest string, ok bool) {
	for i := range len(pattern) {
		if pattern[i] == '/' {
			return pattern[:i], pattern[i+1:], true
		}
	}
	return pattern, "", false
}

// countRange counts the objects of a directory between two times by searching for the first rank without an object.
// Each step is a search too.
func (s *Server) countRange(q *rowsQuery) (int, error) {
	most, err := s.store.Count(q.pattern)
	if err != nil {
		return 0, err
	}
	low, high := 0, most
	for low < high {
		middle := low + (high-low)/2
		page, err := s.store.Page(q.pattern, storage.ListOptions{From: q.list.From, To: q.list.To, Offset: middle, Limit: 1})
		if err != nil {
			return 0, err
		}
		if len(page.Objects) > 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// found is the result of a search.
type found struct {
	objects  []meta.Object
	revision uint64
	next     string
	examined int
}

// search reads the rows. If it has to look at each object, it continues until there are enough, possibly slightly
// more than the limit, or until it has looked at the maximum number of objects. If objects of the server's own are
// among them, only visible objects have a rank, so it skips the others from the beginning.
func (c *call) search(q rowsQuery, look bool) (f found, err error) {
	limit, skip := q.list.Limit, 0
	steps, size := 1, int64(0)
	switch most := c.s.limits.ListObjects; {
	case look && q.text != nil:
		q.list.Limit, steps = min(searchStep, most), searchSteps
	case look:
		steps = searchSteps
	case q.hidden > 0 && q.list.Cursor == "":
		q.list.Offset, skip = 0, q.list.Offset
		q.list.Limit, steps = min(skip+limit+q.hidden, most), math.MaxInt
	case q.hidden > 0:
		steps = math.MaxInt
	}
	var lower []byte
	for step := 0; step < steps && len(f.objects) < limit && size < searchBytes; step++ {
		page, err := c.s.store.Page(q.pattern, q.list)
		if err != nil {
			return f, err
		}
		if step == 0 {
			f.revision = page.Revision
		}
		f.examined += len(page.Objects)
		for i := range page.Objects {
			obj, ok := c.view(&page.Objects[i])
			if !ok {
				continue
			}
			if q.text != nil {
				size += int64(len(obj.Data))
				if lower = lowerASCII(lower, obj.Path); !bytes.Contains(lower, q.text) {
					if lower = lowerASCII(lower, obj.Data); !bytes.Contains(lower, q.text) {
						continue
					}
				}
			}
			if skip--; skip < 0 && (look || len(f.objects) < limit) {
				f.objects = append(f.objects, *obj)
			}
		}
		if f.next = page.Next; f.next == "" || c.r.Context().Err() != nil {
			break
		}
		q.list.Cursor = f.next
	}
	return f, nil
}

// lowerASCII writes a text in lower case over a buffer. It changes only ASCII letters, as JSON escapes may contain
// others.
func lowerASCII[T ~string | ~[]byte](buffer []byte, text T) []byte {
	buffer = append(buffer[:0], text...)
	for i, b := range buffer {
		if 'A' <= b && b <= 'Z' {
			buffer[i] = b + 'a' - 'A'
		}
	}
	return buffer
}

// appendRow appends an object as a row. Data longer than clip is replaced with its length and its beginning.
func appendRow(b []byte, obj *meta.Object, clip int) []byte {
	b = append(append(append(b, `{"path":"`...), obj.Path...), '"')
	b = strconv.AppendInt(append(b, `,"created":`...), obj.Created, 10)
	b = strconv.AppendInt(append(b, `,"updated":`...), obj.Updated, 10)
	b = strconv.AppendUint(append(b, `,"revision":`...), obj.Revision, 10)
	if obj.Expires != 0 {
		b = strconv.AppendInt(append(b, `,"expires":`...), obj.Expires, 10)
	}
	b = strconv.AppendInt(append(b, `,"size":`...), int64(len(obj.Data)), 10)
	if len(obj.Data) <= clip {
		b = append(append(b, `,"data":`...), obj.Data...)
	} else {
		b = append(append(b, `,"head":`...), headOf(obj.Data, clip)...)
	}
	return append(b, '}')
}

// headOf returns the beginning of a text as a JSON string: at most most bytes, and whole characters.
func headOf(text []byte, most int) []byte {
	text = text[:most]
	for at := len(text) - 1; at >= 0 && at >= len(text)-utf8.UTFMax; at-- {
		if utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				text = text[:at]
			}
			break
		}
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		panic(err) // cannot fail for a string
	}
	return quoted
}
