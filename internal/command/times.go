package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Times on the command line: the ends of ranges, and times to live.

const (
	timeForms     = "RFC 3339 (2026-01-31T12:00:00Z), a day (2026-01-31), now, today, yesterday, how long ago (90s, 1h, 7d), or Unix nanoseconds"
	durationForms = "a time such as 90s, 30m, 48h or 7d"
)

// moment parses a time and returns Unix nanoseconds. A day is a day in UTC, like the times that list shows: its first
// instant, or its last one if last is set.
func moment(text string, now time.Time, last bool) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	t, day, err := instant(text, now.UTC())
	if err != nil {
		return 0, err
	}
	if day && last {
		t = t.AddDate(0, 0, 1).Add(-1)
	}
	// Nanoseconds overflow outside of 1678 to 2262.
	if n := t.UnixNano(); time.Unix(0, n).Equal(t) {
		return n, nil
	}
	return 0, fmt.Errorf("%q: expected a year from 1678 to 2262", text)
}

// instant parses a time; day reports whether it is a whole day.
func instant(text string, now time.Time) (t time.Time, day bool, err error) {
	today := now.Truncate(24 * time.Hour)
	switch text {
	case "now":
		return now, false, nil
	case "today":
		return today, true, nil
	case "yesterday":
		return today.AddDate(0, 0, -1), true, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, false, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, true, nil
	}
	if ago, err := duration(text); err == nil && ago >= 0 {
		return now.Add(-ago), false, nil
	}
	return t, false, fmt.Errorf("%q: expected %s", text, timeForms)
}

// duration parses a duration: Go's units, and d for days of 24 hours, which come first (7d, 1d12h).
func duration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	} else if rest == "" {
		rest = "0s"
	}
	number, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: expected %s", text, durationForms)
	}
	more, err := time.ParseDuration(rest)
	const day = 24 * time.Hour
	if err != nil || !(number >= 0) || number > 0 && more < 0 {
		return 0, fmt.Errorf("%q: expected %s", text, durationForms)
	}
	total := number*float64(day) + float64(more)
	if total >= float64(1<<63-1) {
		return 0, fmt.Errorf("%q: the time is longer than 292 years", text)
	}
	return time.Duration(number*float64(day)) + more, nil
}

// ttlValue is the flag of a time to live.
type ttlValue struct{ ttl *time.Duration }

func (v ttlValue) Set(text string) (err error) {
	ttl, err := duration(text)
	if err == nil && ttl <= 0 {
		err = errors.New("expected a time above zero, such as 30m")
	}
	if err == nil {
		*v.ttl = ttl
	}
	return err
}

func (v ttlValue) String() string {
	if v.ttl == nil || *v.ttl == 0 {
		return ""
	}
	return v.ttl.String()
}

func (ttlValue) Type() string { return "duration" }
