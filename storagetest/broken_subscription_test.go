package storagetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// brokenSubscriptions is a store in memory whose subscriptions are wrong in one way.
type brokenSubscriptions struct {
	*storage.Layered
	// options changes what is asked for.
	options func(pattern string, opt *storage.SubscribeOptions)
	// tamper changes what is told.
	tamper func(c *brokenCursor)
}

func (b *brokenSubscriptions) Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error) {
	c := &brokenCursor{pattern: pattern, opt: opt, ctx: ctx, db: b.Layered}
	if b.options != nil {
		b.options(pattern, &opt)
	}
	if b.tamper != nil {
		b.tamper(c)
	}
	sub, err := b.Layered.Subscribe(c.ctx, pattern, opt)
	if err != nil {
		return nil, err
	}
	c.Subscription = sub
	return c, nil
}

// brokenCursor is a subscription that tells what change makes of each notice.
type brokenCursor struct {
	*storage.Subscription
	db      *storage.Layered
	pattern string
	opt     storage.SubscribeOptions
	ctx     context.Context // of Subscribe

	// change returns what to tell in place of a notice; nil for a cursor that tells what is.
	change func(n storage.Notice) []storage.Notice
	// next replaces Next; revision and lag likewise.
	next     func(ctx context.Context) (storage.Notice, error)
	revision func() uint64
	lag      func() int

	pending []storage.Notice
	given   uint64 // the revision before pending
}

func (c *brokenCursor) Next(ctx context.Context) (storage.Notice, error) {
	if c.next != nil {
		return c.next(ctx)
	}
	for len(c.pending) == 0 {
		c.given = c.Subscription.Revision()
		n, err := c.Subscription.Next(ctx)
		if err != nil || c.change == nil {
			return n, err
		}
		if n.Kind == storage.NoticeReset {
			c.given = 0
		}
		c.pending = c.change(n)
	}
	n := c.pending[0]
	c.pending = c.pending[1:]
	return n, nil
}

// Revision does not go on before all that is pending is told.
func (c *brokenCursor) Revision() uint64 {
	if c.revision != nil {
		return c.revision()
	}
	if len(c.pending) > 0 {
		return c.given
	}
	return c.Subscription.Revision()
}

func (c *brokenCursor) Lag() int {
	if c.lag != nil {
		return c.lag()
	}
	return c.Subscription.Lag()
}

// only lets a harm be done to the subscriptions of one clause, which have a directory of their own.
func only(dir string, harm func(c *brokenCursor)) func(c *brokenCursor) {
	return func(c *brokenCursor) {
		if strings.HasPrefix(c.pattern, dir+"/") {
			harm(c)
		}
	}
}

// without leaves out what is so.
func without(is func(n storage.Notice) bool) func(c *brokenCursor) {
	return func(c *brokenCursor) {
		c.change = func(n storage.Notice) []storage.Notice {
			if is(n) {
				return nil
			}
			return []storage.Notice{n}
		}
	}
}

// with changes each notice.
func with(alter func(n *storage.Notice)) func(c *brokenCursor) {
	return func(c *brokenCursor) {
		c.change = func(n storage.Notice) []storage.Notice {
			alter(&n)
			return []storage.Notice{n}
		}
	}
}

// ofKind tells which notices are of a kind.
func ofKind(kind storage.NoticeKind) func(n storage.Notice) bool {
	return func(n storage.Notice) bool { return n.Kind == kind }
}

// invented is a notice of nothing that happened.
func invented(kind storage.NoticeKind, path string) storage.Notice {
	obj := object(path, 7)
	return storage.Notice{Kind: kind, Path: path, Revision: obj.Revision, Object: &obj}
}

// policy gives the subscriptions of a directory another policy.
func policy(dir string, lag storage.LagPolicy) func(string, *storage.SubscribeOptions) {
	return func(pattern string, opt *storage.SubscribeOptions) {
		if strings.HasPrefix(pattern, dir+"/") {
			opt.Lag = lag
		}
	}
}

// fromNowhere makes the subscriptions of a directory forget where to resume.
func fromNowhere(dir string) func(string, *storage.SubscribeOptions) {
	return func(pattern string, opt *storage.SubscribeOptions) {
		if strings.HasPrefix(pattern, dir+"/") {
			opt.From = 0
		}
	}
}

var errOther = errors.New("another error, on purpose")

// TestBrokenSubscriptions runs the suite on stores whose subscriptions are wrong in one way each: its clause
// must fail, and no other.
func TestBrokenSubscriptions(t *testing.T) {
	leaked := make(chan struct{})
	defer close(leaked)
	for _, broken := range []struct {
		name    string
		want    []string
		options func(pattern string, opt *storage.SubscribeOptions)
		tamper  func(c *brokenCursor)
	}{
		{name: "nothing is wrong"},
		{name: "tells no NoticeLive", want: []string{"SUBSCRIBE-01"},
			tamper: only("s01", without(ofKind(storage.NoticeLive)))},
		{name: "matches too much", want: []string{"SUBSCRIBE-02"},
			tamper: only("users", func(c *brokenCursor) {
				c.change = func(n storage.Notice) []storage.Notice {
					if n.Kind == storage.NoticeLive && c.pattern == "users/*" {
						return []storage.Notice{invented(storage.NoticeState, "users/1/posts"), n}
					}
					return []storage.Notice{n}
				}
			})},
		{name: "tells a delete with the revision of its object", want: []string{"SUBSCRIBE-03"},
			tamper: only("s03", with(func(n *storage.Notice) {
				if n.Kind == storage.NoticeDel {
					n.Revision = n.Object.Revision
				}
			}))},
		{name: "tells a glob delete without More", want: []string{"SUBSCRIBE-04"},
			tamper: only("s04", with(func(n *storage.Notice) { n.More = false }))},
		{name: "tells a batch with More to its end", want: []string{"SUBSCRIBE-05"},
			tamper: only("s05", with(func(n *storage.Notice) { n.More = true }))},
		{name: "tells a clear without objects", want: []string{"SUBSCRIBE-06"},
			tamper: only("s06", with(func(n *storage.Notice) {
				if n.Kind == storage.NoticeDel {
					n.Object = nil
				}
			}))},
		{name: "has what is silent in its state", want: []string{"SUBSCRIBE-07"},
			tamper: only("s07", func(c *brokenCursor) {
				c.pending = []storage.Notice{invented(storage.NoticeState, "s07/quiet")}
			})},
		{name: "tells a write that failed", want: []string{"SUBSCRIBE-08"},
			tamper: only("s08", func(c *brokenCursor) {
				c.change = func(n storage.Notice) []storage.Notice {
					if n.Kind == storage.NoticeLive {
						return []storage.Notice{n, invented(storage.NoticeSet, "s08/1")}
					}
					return []storage.Notice{n}
				}
			})},
		{name: "takes a negative buffer", want: []string{"SUBSCRIBE-09"},
			options: func(_ string, opt *storage.SubscribeOptions) { opt.Buffer = max(opt.Buffer, 0) }},
		{name: "tells a change before it is made", want: []string{"SUBSCRIBE-10"},
			tamper: only("s10", with(func(n *storage.Notice) { n.Revision += 1000 }))},
		{name: "does not tell what expires", want: []string{"SUBSCRIBE-11"},
			tamper: only("s11", without(ofKind(storage.NoticeDel)))},
		{name: "resumes with a state", want: []string{"SUBSCRIBE-20"}, options: fromNowhere("s20")},
		{name: "resumes from the future", want: []string{"SUBSCRIBE-21"}, options: fromNowhere("s21")},
		{name: "begins anew without a word", want: []string{"SUBSCRIBE-22"},
			tamper: only("s22", without(ofKind(storage.NoticeReset)))},
		{name: "resumes a content that is gone", want: []string{"SUBSCRIBE-23"},
			tamper: only("s23", without(ofKind(storage.NoticeReset)))},
		{name: "falls behind without a word", want: []string{"SUBSCRIBE-30"},
			tamper: only("s30", without(ofKind(storage.NoticeReset)))},
		{name: "tells a laggard all, whatever it costs", want: []string{"SUBSCRIBE-31"},
			options: func(pattern string, opt *storage.SubscribeOptions) {
				if strings.HasPrefix(pattern, "s31/") {
					opt.Buffer = 1 << 20
				}
			}},
		{name: "leaves changes out and does not end", want: []string{"SUBSCRIBE-32"}, options: policy("s32", storage.LagNewest)},
		{name: "loses changes beside one that is stuck", want: []string{"SUBSCRIBE-33"},
			tamper: only("s33", func(c *brokenCursor) {
				seen := 0
				without(func(n storage.Notice) bool { seen++; return seen%100 == 0 })(c)
			})},
		{name: "says that nothing waits", want: []string{"SUBSCRIBE-34"},
			tamper: only("s34", func(c *brokenCursor) { c.lag = func() int { return 0 } })},
		{name: "tells a laggard of all that came and went", want: []string{"SUBSCRIBE-35"},
			options: func(pattern string, opt *storage.SubscribeOptions) {
				if strings.HasPrefix(pattern, "s35/") {
					opt.Buffer = 1 << 20
				}
			}},
		{name: "tells a push apart from what it removes", want: []string{"SUBSCRIBE-12"},
			tamper: only("s12", with(func(n *storage.Notice) { n.More = false }))},
		{name: "calls all that goes deleted", want: []string{"SUBSCRIBE-13"},
			tamper: only("s13", with(func(n *storage.Notice) { n.Reason = min(n.Reason, storage.ReasonDeleted) }))},
		{name: "tells a state to one that wants changes only", want: []string{"SUBSCRIBE-15"},
			options: func(pattern string, opt *storage.SubscribeOptions) {
				if strings.HasPrefix(pattern, "s15/") {
					opt.ChangesOnly = false
				}
			}},
		{name: "knows no limit of a state", want: []string{"SUBSCRIBE-16"},
			options: func(pattern string, opt *storage.SubscribeOptions) {
				if strings.HasPrefix(pattern, "s16/") {
					opt.Limit = 0
				}
			}},
		{name: "cuts what it is to catch up", want: []string{"SUBSCRIBE-17"},
			options: func(_ string, opt *storage.SubscribeOptions) {
				if opt.CatchUp {
					opt.Limit = 0
				}
			}},
		{name: "tells what did not change as if it had", want: []string{"SUBSCRIBE-24"},
			tamper: only("s24", with(func(n *storage.Notice) {
				if n.Kind == storage.NoticeUnchanged {
					n.Kind = storage.NoticeState
				}
			}))},
		{name: "catches up with a content that is gone", want: []string{"SUBSCRIBE-25"},
			tamper: only("s25", without(ofKind(storage.NoticeReset)))},
		{name: "begins anew with one that can catch up", want: []string{"SUBSCRIBE-36"},
			options: func(pattern string, opt *storage.SubscribeOptions) {
				if strings.HasPrefix(pattern, "s36/") {
					opt.CatchUp = false
				}
			}},
		{name: "looks one segment deep into a subtree", want: []string{"SUBSCRIBE-14"},
			tamper: func(c *brokenCursor) {
				if c.pattern == "users/**" {
					without(func(n storage.Notice) bool { return strings.Count(n.Path, "/") > 1 })(c)
				}
			}},
		{name: "does not listen to the context of Next", want: []string{"SUBSCRIBE-40"},
			tamper: only("s40", func(c *brokenCursor) {
				c.next = func(context.Context) (storage.Notice, error) { return c.Subscription.Next(context.Background()) }
			})},
		{name: "ends with another error", want: []string{"SUBSCRIBE-41"},
			tamper: only("s41", func(c *brokenCursor) {
				c.next = func(ctx context.Context) (storage.Notice, error) {
					n, err := c.Subscription.Next(ctx)
					if errors.Is(err, storage.ErrSubscriptionClosed) {
						err = errOther
					}
					return n, err
				}
			})},
		{name: "does not listen to the context of Subscribe", want: []string{"SUBSCRIBE-42"},
			tamper: only("s42", func(c *brokenCursor) { c.ctx = context.Background() })},
		{name: "forgets what waits when the store is closed", want: []string{"SUBSCRIBE-43"},
			tamper: only("s43", func(c *brokenCursor) {
				c.next = func(ctx context.Context) (storage.Notice, error) {
					if !c.db.Active() {
						return storage.Notice{}, storage.ErrNotActive
					}
					return c.Subscription.Next(ctx)
				}
			})},
		{name: "leaves a goroutine behind", want: []string{"SUBSCRIBE-44"},
			tamper: only("s44", func(c *brokenCursor) { go func() { <-leaked }() })},
	} {
		t.Run(broken.name, func(t *testing.T) {
			s := &subject{openDatabase: func(T) storage.Database {
				return &brokenSubscriptions{
					Layered: storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}),
					options: broken.options, tamper: broken.tamper,
				}
			}}
			wantFailures(t, subscribeClauses, s, broken.want...)
		})
	}
}

// TestBrokenGuarantees holds subscriptions that are wrong in one way each against the guarantees, after random
// runs: the one that they break must be found broken, and no other.
func TestBrokenGuarantees(t *testing.T) {
	single := func(n, before storage.Notice) bool { return isChange(n) && !n.More && !before.More }
	// everyOther does a harm to each second change that is no part of a larger one, once the subscription is live,
	// or only before that.
	everyOther := func(live bool, harm func(n storage.Notice) []storage.Notice) func(c *brokenCursor) {
		return func(c *brokenCursor) {
			var before storage.Notice
			began, count := false, 0
			c.change = func(n storage.Notice) []storage.Notice {
				defer func() { before = n }()
				began = began && n.Kind != storage.NoticeReset || n.Kind == storage.NoticeLive
				if began != live || !single(n, before) {
					return []storage.Notice{n}
				}
				if count++; count%2 == 0 {
					return []storage.Notice{n}
				}
				return harm(n)
			}
		}
	}
	for _, broken := range []struct {
		want   string
		tamper func(c *brokenCursor)
	}{
		{"", func(*brokenCursor) {}},
		{"ordered", swapsChanges},
		{"unique", everyOther(true, func(n storage.Notice) []storage.Notice { return []storage.Notice{n, n} })},
		{"atomic", with(func(n *storage.Notice) { n.More = false })},
		{"reliable", everyOther(true, func(storage.Notice) []storage.Notice { return nil })},
		{"reliable", everyOther(true, func(n storage.Notice) []storage.Notice {
			obj := *n.Object
			obj.Data = dataOf(-1)
			n.Object = &obj
			return []storage.Notice{n}
		})},
		{"whole", func(c *brokenCursor) {
			seen := 0
			without(func(n storage.Notice) bool {
				if n.Kind == storage.NoticeState {
					seen++
				}
				return n.Kind == storage.NoticeState && seen%3 == 1
			})(c)
		}},
		{"resumable", everyOther(false, func(storage.Notice) []storage.Notice { return nil })},
		{"bookmarked", func(c *brokenCursor) {
			calls := 0
			c.revision = func() uint64 {
				if calls++; calls%3 == 0 {
					return 1
				}
				return c.Subscription.Revision()
			}
		}},
	} {
		t.Run("breaks "+broken.want, func(t *testing.T) {
			open := func(T) storage.Database {
				return &brokenSubscriptions{
					Layered: storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}),
					tamper: func(c *brokenCursor) {
						if c.opt.Buffer != wholeBuffer { // the log itself is whole
							broken.tamper(c)
						}
					},
				}
			}
			got := []string{}
			for seed := range uint64(6) {
				for name := range brokenGuarantees(t, open, seed) {
					if !slices.Contains(got, name) {
						got = append(got, name)
					}
				}
			}
			want := strings.Fields(broken.want)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("found broken: %q, want %q", got, want)
			}
		})
	}
}

// brokenGuarantees returns the names of the guarantees that are found broken in a random run, with what was said.
func brokenGuarantees(t *testing.T, open func(T) storage.Database, seed uint64) map[string]string {
	t.Helper()
	var tolds []*Told
	var log *Log
	recorded := record(endless, func(t T) { tolds, log = RecordSubscriptions(t, open, Options{}, seed) })
	if recorded.Failed() {
		t.Fatalf("seed %d: the run failed: %s", seed, recorded.text())
	}
	broken := map[string]string{}
	for _, g := range Guarantees() {
		if r := record(endless, func(t T) { g.hold(t, tolds, log) }); r.Failed() {
			broken[g.Name] = r.text()
			if !strings.Contains(r.text(), g.Demand) {
				t.Errorf("the failure of %s does not print its demand: %s", g.Name, r.text())
			}
			if t.Name() != "" && !strings.HasSuffix(t.Name(), g.Name) {
				t.Logf("seed %d: %s: %s", seed, g.Name, r.text())
			}
		}
	}
	return broken
}

// swapsChanges tells two changes that wait in the wrong order.
func swapsChanges(c *brokenCursor) {
	live := false
	var before storage.Notice
	note := func(n storage.Notice) {
		before = n
		live = live && n.Kind != storage.NoticeReset || n.Kind == storage.NoticeLive
	}
	c.change = func(n storage.Notice) []storage.Notice {
		suits := live && isChange(n) && !n.More && !before.More
		note(n)
		if !suits || c.Subscription.Lag() == 0 {
			return []storage.Notice{n}
		}
		next, err := c.Subscription.Next(context.Background())
		if err != nil {
			return []storage.Notice{n}
		}
		note(next)
		if isChange(next) && !next.More {
			return []storage.Notice{next, n}
		}
		return []storage.Notice{n, next}
	}
}

func TestGuaranteesHaveDemands(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range Guarantees() {
		if seen[g.Name] || g.Name == "" || !strings.HasSuffix(g.Demand, ".") || g.Check == nil {
			t.Errorf("%q: want a name of its own, a demand that is a sentence, and a check", g.Name)
		}
		seen[g.Name] = true
	}
}
