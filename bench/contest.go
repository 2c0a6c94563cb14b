package main

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// side is one of the compared things: it does n operations.
type side func(n int) error

// contestOfMany is contest for sides that use several goroutines or a disk: it always counts elapsed time.
func contestOfMany(c config, sides ...side) (result [][]float64, err error) {
	c.cpu = false
	return contest(c, sides...)
}

// contest runs sides in turn, round by round, for c.round each, and returns the nanoseconds of an operation:
// result[side][round]. The order is reversed in every other round. A disturbance of the machine that lasts longer
// than a round affects all sides alike.
func contest(c config, sides ...side) (result [][]float64, err error) {
	result = make([][]float64, len(sides))
	operations := make([]int, len(sides))
	order := make([]int, len(sides))
	for i, s := range sides {
		if operations[i], err = calibrate(c, s); err != nil {
			return nil, err
		}
		order[i] = i
	}
	for range c.rounds {
		for _, i := range order {
			ns, err := timed(c, sides[i], operations[i])
			if err != nil {
				return nil, err
			}
			result[i] = append(result[i], ns)
		}
		slices.Reverse(order)
	}
	return result, nil
}

// calibrate finds how many operations fill a round. It is also the warm-up.
func calibrate(c config, s side) (int, error) {
	for n := 1; ; n *= 2 {
		ns, err := timed(c, s, n)
		if err != nil {
			return 0, err
		}
		if took := ns * float64(n); took >= float64(c.round)/4 {
			return max(1, int(float64(c.round)/ns)), nil
		}
	}
}

// timed runs a side. With c.cpu it counts the processor time of the side's thread instead of elapsed time.
func timed(c config, s side, n int) (nsPerOperation float64, err error) {
	clock := func() (time.Duration, error) { return time.Since(processStart), nil }
	if c.cpu {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		clock = threadTime
	}
	begin, err := clock()
	if err != nil {
		return 0, err
	}
	if err := s(n); err != nil {
		return 0, err
	}
	end, err := clock()
	return float64(end-begin) / float64(n), err
}

var processStart = time.Now()

// versus compares two sides. The ratio is the median of the ratios of the rounds: each ratio compares neighbours in
// time.
func versus(c config, name string, ours, baseline side, g *goal) (row, error) {
	result, err := contest(c, ours, baseline)
	if err != nil {
		return row{}, err
	}
	return compared(name, "ns", result[0], result[1], g), nil
}

// compared makes a row of the figures of two sides, round by round.
func compared(name, unit string, ours, baseline []float64, g *goal) row {
	return row{
		Name: name, Unit: unit, Goal: g,
		Ours: median(ours), Baseline: median(baseline), Ratio: median(ratios(ours, baseline)),
	}.judged()
}

// ratios divides element by element.
func ratios(dividends, divisors []float64) []float64 {
	quotients := make([]float64, len(dividends))
	for i := range dividends {
		quotients[i] = dividends[i] / divisors[i]
	}
	return quotients
}

// median returns the middle of values, which must not be empty.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value that a part q of all values does not exceed.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// parallel does n operations with several goroutines, each taking the next operation when it has finished one. It
// returns the first error, after which it starts no more.
func parallel(workers, n int, operation func(worker, i int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	var once sync.Once
	var failed error
	for worker := range workers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := operation(worker, i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	group.Wait()
	return failed
}

// background runs a loop concurrently with a side: stop ends it and returns its error.
func background(step func(i int) error) (stop func() error) {
	quit := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				ended <- nil
				return
			default:
			}
			if err := step(i); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(quit)
		return <-ended
	}
}
