package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// sent is a command that awaits its answer.
type sent struct {
	item
	verb   verb
	octets int // of the article
}

type verb uint8

const (
	check verb = iota
	takeThis
	asked // TAKETHIS after 238
	quit
)

// stream is one connection with MODE STREAM: RFC 4644. run's goroutine sends,
// another reads answers. The capacity of flying is the window.
type stream struct {
	s      *sender
	c      *nntp.Client
	flying chan sent     // commands in flight, in order
	wanted chan item     // CHECK said 238
	ended  chan struct{} // closed when the reader ended
	count  atomic.Uint64 // answers so far
	hung   atomic.Bool   // closed because no answer came

	// The reader's own, until ended is closed.
	outcomes []outcome
	err      error
	bye      bool // QUIT was answered, or the peer left while nothing was in flight
}

// flushAt is how many octets are gathered at most before they are sent.
const flushAt = 64 << 10

func newStream(s *sender, c *nntp.Client) *stream {
	return &stream{
		s: s, c: c,
		flying: make(chan sent, s.peer.Window),
		wanted: make(chan item, 2*s.peer.Window+1),
		ended:  make(chan struct{}),
	}
}

// run feeds until ctx ends, there is no more work for long, or the connection
// breaks. What has no answer then is returned to the desk.
func (x *stream) run(ctx context.Context, first item) report {
	go x.read()
	stopWatch := x.watch()
	left, err := x.write(ctx, first)
	if err == nil {
		err = x.farewell()
	}
	x.c.Close()
	<-x.ended
	stopWatch()
	out := x.outcomes
	for _, it := range left {
		out = append(out, outcome{it, returned})
	}
	for len(x.flying) > 0 {
		if p := <-x.flying; p.verb != quit {
			p.doubt = true
			out = append(out, outcome{p.item, returned})
		}
	}
	for len(x.wanted) > 0 {
		out = append(out, outcome{<-x.wanted, returned})
	}
	return report{outcomes: out, ended: true, progress: x.count.Load() > 0, err: x.cause(ctx, err)}
}

// errReader says that the reader knows why.
var errReader = errors.New("the connection ended")

// cause is why the stream ended, if that was not as it should; err is what the
// writing side knows.
func (x *stream) cause(ctx context.Context, err error) error {
	switch {
	case err == nil || x.bye || ctx.Err() != nil:
		return nil
	case x.hung.Load():
		return fmt.Errorf("no answer for %v", x.s.cfg.Answer)
	case x.err != nil && !errors.Is(x.err, net.ErrClosed):
		return x.err
	}
	return err
}

// write sends until there is a reason to end; it returns the item it could not send.
func (x *stream) write(ctx context.Context, it item) ([]item, error) {
	take := false
	for ok := true; ok; {
		var err error
		if take || !it.doubt && !x.s.check.needed() {
			err = x.take(ctx, it, take)
		} else {
			err = x.ask(ctx, it)
		}
		if err == nil && x.c.Pending() >= flushAt {
			err = x.c.Flush()
		}
		if err != nil {
			if errors.Is(err, errUnsent) {
				return []item{it}, err
			}
			return nil, err
		}
		if it, take, ok, err = x.next(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// errUnsent: the connection ended before the command was counted as in flight.
var errUnsent = errors.New("not sent")

// next waits for the next thing to send, and flushes before it waits.
func (x *stream) next(ctx context.Context) (it item, take, ok bool, err error) {
	select {
	case it = <-x.wanted: // before anything new: the peer holds a place for it
		return it, true, true, nil
	default:
	}
	select {
	case it = <-x.wanted:
		return it, true, true, nil
	case it = <-x.s.work:
		return it, false, true, nil
	default:
	}
	if err := x.c.Flush(); err != nil {
		return item{}, false, false, err
	}
	idle := time.NewTimer(x.s.cfg.Idle)
	defer idle.Stop()
	select {
	case it = <-x.wanted:
		return it, true, true, nil
	case it = <-x.s.work:
		return it, false, true, nil
	case <-ctx.Done():
	case <-idle.C:
	case <-x.ended:
		return item{}, false, false, errReader
	}
	return item{}, false, false, nil
}

// launch counts a command as in flight; it waits while the window is full.
func (x *stream) launch(ctx context.Context, p sent) error {
	select {
	case x.flying <- p:
		return nil
	default:
	}
	if err := x.c.Flush(); err != nil {
		return errors.Join(errUnsent, err)
	}
	select {
	case x.flying <- p:
		return nil
	case <-ctx.Done():
	case <-x.ended:
	}
	return errUnsent
}

func (x *stream) ask(ctx context.Context, it item) error {
	if err := x.launch(ctx, sent{item: it, verb: check}); err != nil {
		return err
	}
	x.c.Check(it.id)
	return nil
}

// take sends the article itself. One that the spool has no more is settled.
func (x *stream) take(ctx context.Context, it item, wasAsked bool) error {
	a, err := x.s.cfg.Spool.Open(ctx, it.seq)
	if err != nil {
		return x.s.unread(ctx, it, err)
	}
	v := takeThis
	if wasAsked {
		v = asked
	}
	if err := x.launch(ctx, sent{item: it, verb: v, octets: len(a.Wire())}); err != nil {
		return err
	}
	x.c.TakeThis(it.id, a.Wire())
	return nil
}

// unread deals with an article that cannot be opened. While stopping, it is
// left to the next start.
func (s *sender) unread(ctx context.Context, it item, err error) error {
	f := gone
	if !errors.Is(err, spool.ErrNotFound) {
		if ctx.Err() != nil {
			return errUnsent
		}
		s.tally.failed(fmt.Errorf("open %s: %w", it.id, err), s.cfg.Now())
		f = deferred
	}
	s.reports <- report{outcomes: []outcome{{it, f}}}
	return nil
}

// farewell says QUIT and gives the answers that are due a little time.
func (x *stream) farewell() error {
	t := time.AfterFunc(x.s.cfg.Farewell, func() { x.c.Close() })
	defer t.Stop()
	select {
	case x.flying <- sent{verb: quit}:
	case <-x.ended:
		return nil
	}
	x.c.Quitting()
	if err := x.c.Flush(); err != nil {
		return err
	}
	<-x.ended
	return nil
}

// watch closes the connection when answers are due and none comes.
func (x *stream) watch() (stop func()) {
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(x.s.cfg.Answer / 2)
		defer tick.Stop()
		last, silent := uint64(0), 0
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := x.count.Load()
			if now != last || len(x.flying) == 0 {
				last, silent = now, 0
				continue
			}
			if silent++; silent == 2 {
				x.hung.Store(true)
				x.c.Close()
			}
		}
	}()
	return func() { close(done); <-gone }
}

// read takes answers until the connection ends.
func (x *stream) read() {
	defer close(x.ended)
	for {
		if x.err = x.answer(); x.err != nil {
			break
		}
		if x.bye {
			return
		}
		if len(x.outcomes) >= batchSize || x.c.Buffered() == 0 {
			x.deliver()
		}
	}
	switch idle := len(x.flying) == 0 && len(x.wanted) == 0; {
	case !errors.Is(x.err, io.EOF):
	case idle && x.count.Load() > 0:
		x.bye = true // it left while nothing was going on
	case x.count.Load() == 0:
		x.err = fmt.Errorf("the peer closed the connection without an answer: %w", x.err)
	}
}

// deliver tells the desk what was settled.
func (x *stream) deliver() {
	if len(x.outcomes) > 0 {
		x.s.reports <- report{outcomes: x.outcomes, progress: true}
		x.outcomes = nil
	}
}

// answer reads one answer and matches it with its command.
func (x *stream) answer() error {
	if err := x.c.Await(); err != nil {
		return err
	}
	code, text, err := x.c.Next()
	if err != nil {
		return err
	}
	var p sent
	select {
	case p = <-x.flying:
	default:
		return fmt.Errorf("unasked: %w", answered("", code, text))
	}
	if p.verb == quit {
		x.bye = true
		return nil
	}
	f, err := judge(p, code, text)
	if err != nil {
		p.doubt = true
		x.outcomes = append(x.outcomes, outcome{p.item, returned})
		return err
	}
	x.count.Add(1)
	x.note(p, f)
	if f == 0 {
		x.wanted <- p.item
	} else {
		x.outcomes = append(x.outcomes, outcome{p.item, f})
	}
	return nil
}

// judge translates an answer; fate 0 is "send it": RFC 4644 §2.4.2, §2.5.2.
func judge(p sent, code int, text []byte) (fate, error) {
	verb := "CHECK"
	if p.verb != check {
		verb = "TAKETHIS"
	}
	if len(text) > 0 && text[0] == '<' && code != nntp.CodeUnavailable {
		if id, _, _ := strings.Cut(string(text), " "); id != string(p.id) {
			return 0, fmt.Errorf("answers are out of step: %s %s was answered for %.100s", verb, p.id, id)
		}
	}
	switch {
	case p.verb == check && code == nntp.CodeSend:
		return 0, nil
	case p.verb == check && code == nntp.CodeCheckRefused, p.verb != check && code == nntp.CodeTakethisRefused:
		return refused, nil
	case p.verb != check && code == nntp.CodeTakethisOK:
		return accepted, nil
	case code == nntp.CodeCheckLater, code == nntp.CodeIhaveLater:
		return deferred, nil
	}
	return 0, answered(verb, code, text)
}

// answered is the error of an answer that ends the connection.
func answered(verb string, code int, text []byte) error {
	return &nntp.CodeError{Doing: verb, Code: code, Text: nntp.Printable(text)}
}

// note counts.
func (x *stream) note(p sent, f fate) {
	if p.verb != asked {
		x.s.check.note(f == 0 || f == accepted)
	}
	x.s.tally.with(func(st *Stats) {
		if p.verb != asked {
			st.Offered++
		}
		st.count(f, p.octets)
	})
}

func (st *Stats) count(f fate, octets int) {
	switch f {
	case accepted:
		st.Accepted++
		st.Octets += uint64(octets)
	case refused:
		st.Refused++
	case deferred:
		st.Later++
	}
}
