package nntpd

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
)

// doCheck: RFC 4644 §2.4.
func (x *session) doCheck() error {
	x.srv.Counts.Offered.Add(1)
	id := article.ID(x.args[0])
	code, text := nntp.CodeSend, ""
	err := x.mayFeed()
	if err == nil {
		err = x.srv.cfg.Agent.Want(x.srv.ctx, id, x.o)
	}
	if err != nil {
		code, text = x.answer(err, forCheck())
	} else {
		x.srv.Counts.Wanted.Add(1)
	}
	if code != nntp.CodeAuthRequired {
		text = named(x.args[0], "") // the id alone: RFC 4644 §2.4.1
	}
	if x.pipe != nil && x.pipe.say(code, text) {
		return nil
	}
	x.c.Status(code, text)
	return nil
}

// named puts the id that was asked about before a text.
func named(id, text string) string {
	id = oneLine(id)
	if text == "" {
		return id
	}
	return id + " " + text
}

// doIhave: RFC 3977 §6.3.2.
func (x *session) doIhave() error {
	x.srv.Counts.Offered.Add(1)
	id := article.ID(x.args[0])
	if _, err := article.ParseID(x.args[0]); err != nil {
		x.bad(nntp.CodeSyntax, "not a message-id")
		return nil
	}
	err := x.mayFeed()
	if err == nil {
		err = x.srv.cfg.Agent.Want(x.srv.ctx, id, x.o)
	}
	if err != nil {
		return x.refuse(err, forOffer())
	}
	x.srv.Counts.Wanted.Add(1)
	x.c.Status(nntp.CodeIhaveSend, "send it; end with a line that is a dot")
	if err := x.flush(); err != nil {
		return err
	}
	wire, err := x.c.Block(x.srv.cfg.MaxArticle)
	if err != nil && !errors.Is(err, nntp.ErrTooLarge) {
		return err
	}
	if err != nil {
		x.srv.cfg.Agent.Release(id, x.o)
		err = tooLarge()
	} else {
		o := x.o
		o.Offered, o.Turn = id, x.o.Conn.Next()
		_, err = x.srv.cfg.Agent.Relay(x.srv.ctx, wire, o)
	}
	x.srv.count(err)
	if err != nil {
		return x.refuse(err, forIhave())
	}
	x.c.Status(nntp.CodeIhaveOK, "article received "+x.args[0])
	return nil
}

func tooLarge() error {
	return &agent.Refusal{Reason: agent.TooLarge, Code: "too-large", Text: "the article is too large"}
}

// count counts what became of an article that a peer sent.
func (s *Server) count(err error) {
	var r *agent.Refusal
	switch {
	case err == nil:
		s.Counts.Taken.Add(1)
	case !errors.As(err, &r) || r.Temporary():
		s.Counts.Delayed.Add(1)
	case r.Reason == agent.Duplicate:
		s.Counts.Duplicate.Add(1)
	default:
		s.Counts.Rejected.Add(1)
	}
}

// doTakethis: RFC 4644 §2.5. The article is stored while the next commands are
// read; the answers come in the order of the commands.
func (x *session) doTakethis() error {
	if x.pipe == nil {
		x.pipe = newPipe(x)
	}
	wire, err := x.c.Block(x.srv.cfg.MaxArticle)
	if err != nil && !errors.Is(err, nntp.ErrTooLarge) {
		return err
	}
	if err != nil {
		err = tooLarge()
	} else {
		err = x.mayFeed()
	}
	o := x.o
	o.Offered = article.ID(x.args[0])
	if err != nil {
		x.srv.cfg.Agent.Release(o.Offered, o)
		x.srv.count(err)
		code, text := x.answer(err, forTakethis())
		x.pipe.put(code, named(x.args[0], text))
		return x.pipe.failed()
	}
	o.Turn = x.o.Conn.Next()
	return x.pipe.relay(wire, o)
}

// pipe is the articles of one connection that are being stored, and the answers
// that wait behind them. The connection's goroutine puts in; workers, never more
// than the window, store articles, and stay for the next ones until park (new
// goroutines would spend a tenth of the time on growing their stacks); the
// writer, which lives while there is something, writes the answers in order, as
// many at once as are ready.
type pipe struct {
	x *session

	mu     sync.Mutex
	slots  []*slot // answers, head first
	octets int     // of articles in slots
	room   sync.Cond
	err    error // why the connection must end

	writing bool // the writer lives; the output is its
	head    sync.Cond

	jobs    []*slot // articles that no worker has taken yet
	storing int     // articles in jobs and in the hands of workers
	workers int
	idle    int // workers that wait for a job
	parked  bool
	work    sync.Cond

	still sync.Cond // nothing is stored or written, or a worker ended
}

// slot is one answer, and the article it is about until that is stored.
type slot struct {
	done bool
	code int
	text string
	wire []byte
	size int
	o    agent.Origin
}

// errClosed ends a connection after 400.
var errClosed = errors.New("closed after a temporary failure")

func newPipe(x *session) *pipe {
	p := &pipe{x: x}
	for _, c := range []*sync.Cond{&p.room, &p.head, &p.work, &p.still} {
		c.L = &p.mu
	}
	return p
}

// busy says whether the output is the writer's.
func (p *pipe) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writing
}

// drain waits until all articles are stored and answered; then the output is
// the caller's.
func (p *pipe) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.writing || p.storing > 0 {
		p.still.Wait()
	}
}

// resting says whether there are workers to send away.
func (p *pipe) resting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers > 0
}

// park drains and waits until all workers have ended. The next article makes new ones.
func (p *pipe) park() {
	p.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked = true
	p.work.Broadcast()
	for p.workers > 0 {
		p.still.Wait()
	}
	p.parked = false
}

// failed returns why the connection must end, or nil.
func (p *pipe) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// say adds an answer that is ready, if others wait before it; else it returns
// false, and the caller writes it himself.
func (p *pipe) say(code int, text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.writing {
		return false
	}
	p.add(&slot{done: true, code: code, text: text})
	return true
}

// put adds an answer that is ready.
func (p *pipe) put(code int, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(&slot{done: true, code: code, text: text})
}

// add appends s and sees to it that the writer lives. p.mu is held.
func (p *pipe) add(s *slot) {
	p.slots = append(p.slots, s)
	if !p.writing {
		p.writing = true
		go p.write()
	}
}

// relay has an article stored, when window, connection and node have room for it.
func (p *pipe) relay(wire []byte, o agent.Origin) error {
	cfg := &p.x.srv.cfg
	s := &slot{wire: wire, size: len(wire), o: o}
	if err := p.x.srv.octets.take(p.x.srv.ctx, s.size); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && (len(p.slots) >= cfg.Window || p.octets > 0 && p.octets+s.size > cfg.WindowOctets) {
		p.room.Wait()
	}
	if p.err != nil {
		p.x.srv.octets.give(s.size)
		o.Conn.Done(o.Turn)
		return p.err
	}
	p.octets += s.size
	p.storing++
	p.add(s)
	p.jobs = append(p.jobs, s)
	if p.idle >= len(p.jobs) {
		p.work.Signal()
	} else {
		p.workers++
		go p.store()
	}
	return nil
}

// store is a worker: it relays articles and notes the answers.
func (p *pipe) store() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.jobs) == 0 && !p.parked {
			p.idle++
			p.work.Wait()
			p.idle--
		}
		if len(p.jobs) == 0 {
			break
		}
		s := p.jobs[0]
		p.jobs[0] = nil
		p.jobs = p.jobs[1:]
		p.mu.Unlock()
		code, text := p.storeOne(s)
		p.mu.Lock()
		s.code, s.text, s.done, s.wire = code, text, true, nil
		p.octets -= s.size
		p.storing--
		p.room.Signal()
		if len(p.slots) > 0 && p.slots[0] == s {
			p.head.Signal()
		}
		p.stillNow()
	}
	p.workers--
	p.still.Broadcast()
}

// stillNow wakes who waits for stillness. p.mu is held.
func (p *pipe) stillNow() {
	if p.storing == 0 && !p.writing {
		p.still.Broadcast()
	}
}

// storeOne relays one article and returns the answer.
func (p *pipe) storeOne(s *slot) (int, string) {
	x := p.x
	_, err := x.srv.cfg.Agent.Relay(x.srv.ctx, s.wire, s.o)
	x.srv.count(err)
	x.srv.octets.give(s.size)
	if err != nil {
		return p.refusal(err, s.o.Offered)
	}
	return nntp.CodeTakethisOK, string(s.o.Offered)
}

// refusal is the answer to an article that was not taken. It runs beside the
// connection's goroutine and looks at nothing that may change there.
func (p *pipe) refusal(err error, id article.ID) (int, string) {
	var r *agent.Refusal
	if !errors.As(err, &r) {
		if !errors.Is(err, context.Canceled) {
			p.x.log().Error("nntp: article not stored", "id", oneLine(string(id)), "error", err)
		}
		return nntp.CodeUnavailable, "something went wrong here, try later"
	}
	if r.Err != nil {
		p.x.log().Warn("nntp: article refused", "id", oneLine(string(id)), "reason", r.Code, "error", r.Err)
	}
	code, text := p.x.translate(r, forTakethis())
	if code == nntp.CodeTakethisRefused {
		text = named(string(id), text)
	}
	return code, text
}

// write writes answers in order until there is none left. After a 400 it closes
// the connection: RFC 4644 §2.5.1 knows no other way to say "try later", and a
// 439 would lose the article. What comes behind goes unanswered, so that the
// peer offers it again.
func (p *pipe) write() {
	c := p.x.c
	p.mu.Lock()
	defer p.mu.Unlock()
	for yielded := false; ; {
		switch {
		case len(p.slots) > 0 && p.slots[0].done:
			p.answerHead()
		case c.Pending() > 0 && !yielded:
			// One commit of the spool ends many waits at once: let the others note
			// their answers before this one goes alone.
			yielded = true
			p.mu.Unlock()
			runtime.Gosched()
			p.mu.Lock()
		case c.Pending() > 0:
			p.flush()
			yielded = false
		case len(p.slots) > 0:
			p.head.Wait()
		default:
			p.writing = false
			p.stillNow()
			return
		}
	}
}

// answerHead writes the first answer. p.mu is held.
func (p *pipe) answerHead() {
	s := p.slots[0]
	p.slots[0] = nil
	if p.slots = p.slots[1:]; len(p.slots) == 0 {
		p.slots = nil
	}
	p.room.Signal()
	if p.err != nil {
		return
	}
	p.x.c.Status(s.code, s.text)
	if s.code == nntp.CodeUnavailable {
		p.fail(errClosed) // the reading side ends when it comes to know, at the latest by its Wait
		p.mu.Unlock()
		_ = p.x.c.CloseWrite() // it is closed next, whether this works or not
		p.x.c.Interrupt()
		p.mu.Lock()
	}
}

// flush writes what has gathered, without holding p.mu.
func (p *pipe) flush() {
	p.mu.Unlock()
	err := p.x.c.Flush()
	p.mu.Lock()
	p.fail(err)
}

// fail notes why the connection must end. p.mu is held.
func (p *pipe) fail(err error) {
	if err != nil && p.err == nil {
		p.err = err
		p.room.Signal()
	}
}
