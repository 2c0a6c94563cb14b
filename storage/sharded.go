package storage

import "sync"

// shardBuffer is the capacity of each shard's channel.
const shardBuffer = 100

// ShardedChan is a set of event channels. All events of one key arrive on one of them, FNV-1a(key) % Count, in the
// order in which they were sent. There is no order between the channels: the event of a glob delete, whose key is the
// pattern, may arrive before events of the keys that it removed. Watch delivers all events in one order.
//
// Send never blocks. Each channel buffers 100 events. Beyond the buffer, events wait in a queue. Beyond 16,384 waiting
// events, the queue keeps only the newest event of each key, in order, until the consumer has caught up. It drops keys
// that are created and deleted in the meantime. So the final state always arrives. A consumer that never reads costs at
// most that queue and one event for each key that exists or that was delivered. Stats reports this. Consumers of one
// ShardedChan share its events, as with any channel.
//
// All methods may be called concurrently. The zero value has no channels and drops all events.
type ShardedChan struct {
	shards []*shard
	closed chan struct{} // closed by Close once all channels are closed
	once   sync.Once
}

// ShardedStats are the statistics of a ShardedChan.
type ShardedStats struct {
	// Queued is how many events wait beyond the channels' buffers.
	Queued int
	// Coalesced is how many events were dropped because a newer one of their key was waiting, or because the key was
	// created and deleted again.
	Coalesced uint64
	// Dropped is how many events Close discarded because nobody read them.
	Dropped uint64
}

// NewShardedChan returns a ShardedChan with shardCount channels; 6 if shardCount is zero or less.
func NewShardedChan(shardCount int) *ShardedChan {
	if shardCount <= 0 {
		shardCount = defaultWorkers
	}
	s := &ShardedChan{shards: make([]*shard, shardCount), closed: make(chan struct{})}
	for i := range s.shards {
		s.shards[i] = &shard{
			ch:   make(StorageChan, shardBuffer),
			quit: make(chan struct{}),
			done: make(chan struct{}),
		}
	}
	return s
}

// Count returns the number of shards.
func (s *ShardedChan) Count() int { return len(s.shards) }

// Shard returns the channel of a shard, for receiving only: only the ShardedChan sends and closes. For an index out of
// range it returns nil, a channel that never delivers.
func (s *ShardedChan) Shard(index int) StorageChan {
	if index < 0 || index >= len(s.shards) {
		return nil
	}
	return s.shards[index].ch
}

// ShardFor returns the index of the shard that carries a key's events.
func (s *ShardedChan) ShardFor(key string) int {
	// FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
	hash := uint32(2166136261)
	for i := range len(key) {
		hash ^= uint32(key[i])
		hash *= 16777619
	}
	if len(s.shards) == 0 {
		return 0 // the zero value
	}
	// Unsigned throughout: an int would be negative for half of the keys on 32 bits.
	return int(hash % uint32(len(s.shards)))
}

// Send delivers an event to its shard, immediately if the channel has room. It never blocks. After Close it does
// nothing.
func (s *ShardedChan) Send(event Event) {
	s.tell(changeOf(event))
}

// tell sends a change to its shard. A clear, which affects all keys, also clears the queues of the other shards.
func (s *ShardedChan) tell(c *change) {
	if len(s.shards) == 0 { // the zero value
		return
	}
	of := s.ShardFor(c.Key)
	if c.kind == changeClear {
		for i, sh := range s.shards {
			if i != of {
				sh.clear()
			}
		}
	}
	s.shards[of].send(c)
}

// Close closes the channels. It first delivers waiting events to consumers that keep reading. It waits at most 5
// seconds in total, and stops once no event was received for one to two seconds. It may be called any number of times.
func (s *ShardedChan) Close() {
	if s.closed == nil {
		return // the zero value has no channels
	}
	s.once.Do(func() {
		defer close(s.closed)
		dones := make([]<-chan struct{}, len(s.shards))
		for i, sh := range s.shards {
			sh.close()
			dones[i] = sh.done
		}
		if drain(dones, s.delivered) {
			return
		}
		for _, sh := range s.shards {
			close(sh.quit)
		}
		for _, done := range dones {
			<-done
		}
	})
	<-s.closed
}

// Stats returns the present statistics.
func (s *ShardedChan) Stats() ShardedStats {
	var stats ShardedStats
	for _, sh := range s.shards {
		sh.mu.Lock()
		stats.Queued += sh.queue.live + sh.sending
		stats.Coalesced += sh.queue.coalesced
		stats.Dropped += sh.dropped
		sh.mu.Unlock()
	}
	return stats
}

func (s *ShardedChan) delivered() (sum uint64) {
	for _, sh := range s.shards {
		sh.mu.Lock()
		sum += sh.delivered
		sh.mu.Unlock()
	}
	return sum
}

// shard is one channel with its queue. While the queue is empty, send delivers into the channel directly. Otherwise a
// pump delivers, a goroutine that exists as long as the queue is not empty.
type shard struct {
	ch   StorageChan
	quit chan struct{} // closed: the pump drops the waiting events
	done chan struct{} // closed with ch

	mu                 sync.Mutex // guards the fields below; held only briefly
	queue              backlog
	pumping            bool
	sending            int    // events that the pump has taken from the queue but not delivered, at most 1
	delivered, dropped uint64 // by the pump, in total
	closed             bool
}

func (s *shard) send(c *change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case s.pumping:
		s.queue.add(c)
	case c.kind == changePart || c.kind == changeSilent: // no event
	default:
		select {
		case s.ch <- c.Event:
		default:
			s.queue.add(c)
			s.pumping = true
			go s.pump()
		}
	}
}

// clear records that everything was removed, which another shard reports.
func (s *shard) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.allGone()
}

// close rejects further events. It closes the channel if there is no pump; otherwise the pump does.
func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.pumping {
		s.end()
	}
}

func (s *shard) end() {
	close(s.ch)
	close(s.done)
}

// pump delivers the waiting events and ends when there are none.
func (s *shard) pump() {
	for {
		event, ok := s.take()
		if !ok {
			return
		}
		select {
		case s.ch <- event:
			s.sent()
		case <-s.quit:
			s.drop()
		}
	}
}

// take takes the next event from the queue for the pump. If it returns false, the pump ends.
func (s *shard) take() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.queue.first()
	if !ok {
		if s.pumping = false; s.closed {
			s.end()
		}
		return Event{}, false
	}
	event := c.Event
	s.queue.pop()
	s.sending = 1
	return event, true
}

// sent counts the taken event as delivered.
func (s *shard) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = 0
	s.delivered++
}

// drop drops the waiting events after Close.
func (s *shard) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += uint64(1 + s.queue.live)
	s.sending, s.queue = 0, backlog{coalesced: s.queue.coalesced}
}
