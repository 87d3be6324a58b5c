package nntpd

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
)

// session is one connection. All of it belongs to the connection's goroutine,
// but the output, which belongs to the pipe's writer while there is one.
type session struct {
	srv *Server
	c   *nntp.Conn
	o   agent.Origin

	implicit   bool // TLS from the first octet
	shaking    atomic.Bool
	compressed bool   // COMPRESS was said
	user       string // of AUTHINFO USER, until PASS
	badLogins  int
	fetched    fetched       // not marked as read yet
	group      article.Group // "": none selected
	cur        uint64        // number of the current article; 0: none
	quit       bool          // close after this command

	access  *agent.Access // of this command
	feedAt  time.Time     // when feeding was last found allowed
	pipe    *pipe         // nil: no article has come by TAKETHIS yet
	line    string        // this command, without CRLF
	args    []string      // its words behind the verb
	argsBuf [3]string
}

// run is the whole life of a connection.
func (x *session) run() {
	defer x.srv.forget(x)
	var err error
	defer func() { x.end(x.quit || errors.Is(err, errClosed)) }()
	defer func() {
		if p := recover(); p != nil {
			x.srv.Counts.Panics.Add(1)
			x.log().Error("nntp: bug, connection closed", "command", verbOf(x.line), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if x.implicit {
		if err = x.handshake(); errors.Is(err, errClosed) {
			return
		} else if err != nil {
			x.log().Info("nntp: connection lost", "error", err)
			return
		}
	}
	x.whose()
	x.greet()
	if err = x.loop(); err != nil && !quiet(err) {
		x.log().Info("nntp: connection lost", "error", err)
	}
}

// end waits for the articles still being stored, says what is left to say and
// closes. linger: the client may still be sending.
func (x *session) end(linger bool) {
	if x.pipe != nil {
		x.pipe.park()
	}
	if _ = x.c.Flush(); linger {
		_ = x.c.Linger(farewell)
	} else {
		_ = x.c.Close()
	}
	x.writeMarks()
	if x.o.Conn != nil {
		x.srv.cfg.Agent.ReleaseAll(x.o)
	}
	if x.compressed {
		x.srv.compressed.Add(-1)
	}
	x.srv.Counts.OctetsIn.Add(uint64(x.c.In))
	x.srv.Counts.OctetsOut.Add(uint64(x.c.Out))
	x.c.Forget()
}

// quiet are the ordinary ends of a connection.
func quiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, nntp.ErrStopped) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, errClosed)
}

func (x *session) log() *slog.Logger {
	return x.srv.cfg.Log.With("client", x.o.Addr.String(), "account", x.o.Account, "peer", x.o.Peer)
}

// whose finds out which peer the connection belongs to.
func (x *session) whose() {
	x.o.Peer = ""
	if p := x.srv.cfg.Agent.Whose(x.srv.ctx, x.o); len(p) > 0 {
		x.o.Peer = p[0]
		if x.srv.cfg.Seen != nil {
			x.srv.cfg.Seen(p)
		}
	}
	x.feedAt = time.Time{}
}

// greet says 200 also where posting needs a login: rpost gives up at 201 and
// would never see the 480 that makes it log in.
func (x *session) greet() {
	code, text := x.posting()
	x.c.Status(code, x.srv.cfg.Host+" "+x.srv.cfg.Version+" ready, "+text)
	x.access = nil
}

// posting is what the greeting and MODE READER say (RFC 3977 §5.1, §5.3).
func (x *session) posting() (int, string) {
	switch {
	case x.mayPostAnywhere():
		return nntp.CodeReadyPost, "posting allowed"
	case x.mayLogin():
		return nntp.CodeReadyPost, "posting allowed after a login"
	}
	return nntp.CodeReadyNoPost, "no posting"
}

// loop reads commands and answers them. What has been answered leaves when there
// is no more input to look at: RFC 3977 §3.5 lets clients pipeline.
func (x *session) loop() error {
	for !x.quit {
		if x.c.Buffered() == 0 {
			if err := x.flush(); err != nil {
				return err
			}
			x.c.Rest()
		}
		if err := x.wait(); err != nil {
			return x.leave(err)
		}
		if x.c.Stopped() {
			return x.leave(nntp.ErrStopped)
		}
		line, err := x.c.Line(nntp.MaxLong)
		if err := x.command(line, err); err != nil {
			x.quit = true // it may be in the middle of an article
			return x.leave(err)
		}
	}
	return nil
}

// wait waits for a command. Workers of a stream are sent home when it pauses.
func (x *session) wait() error {
	if x.pipe != nil && x.c.Buffered() == 0 && x.pipe.resting() {
		err := x.c.Wait(min(pause, x.srv.cfg.IdleTimeout))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		x.pipe.park()
		if err := x.flush(); err != nil {
			return err
		}
	}
	return x.c.Wait(x.srv.cfg.IdleTimeout)
}

// farewell is how long a client that is sent away may go on sending, so that it
// reads why.
const farewell = time.Second

// pause is how long a stream is silent before its workers end.
const pause = 2 * time.Second

// leave says good-bye to a client that did not, be it in the middle of an article:
// 400 may come at any time (RFC 3977 §3.2.1).
func (x *session) leave(err error) error {
	x.sync()
	if x.pipe != nil && x.pipe.failed() != nil {
		return x.pipe.failed() // 400 was said
	}
	switch {
	case errors.Is(err, nntp.ErrStopped):
		x.c.Status(nntp.CodeUnavailable, "this server is going down, try later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.c.Status(nntp.CodeUnavailable, "you were silent for too long")
	}
	return err
}

// flush sends what has been answered, unless the pipe's writer does.
func (x *session) flush() error {
	if x.pipe != nil && x.pipe.busy() {
		return nil
	}
	return x.c.Flush()
}

// sync waits until the output is ours again: all articles are answered.
func (x *session) sync() {
	if x.pipe != nil {
		x.pipe.drain()
	}
}

// command answers one command line. An error ends the connection.
func (x *session) command(line []byte, err error) error {
	x.srv.Counts.Commands.Add(1)
	if err != nil {
		return x.badLine(err)
	}
	x.line = string(line)
	verb, rest, _ := strings.Cut(x.line, " ")
	cmd, ok := find(verb)
	if !ok && strings.IndexByte(verb, '\t') >= 0 {
		i := strings.IndexByte(x.line, '\t')
		verb, rest = x.line[:i], x.line[i+1:]
		cmd, ok = find(verb)
	}
	if !ok {
		x.sync()
		x.bad(nntp.CodeUnknown, "unknown command; HELP lists what there is")
		return nil
	}
	x.split(rest)
	if !cmd.streams {
		x.sync()
	}
	x.access = nil
	switch {
	case len(line)+2 > nntp.MaxCommand && !cmd.long:
		return x.syntax(cmd, "line is too long")
	case len(x.args) < cmd.min || len(x.args) > cmd.max:
		return x.syntax(cmd, "syntax: "+cmd.syntax)
	}
	return cmd.do(x)
}

// badLine answers what is no command line.
func (x *session) badLine(err error) error {
	switch {
	case errors.Is(err, nntp.ErrControl):
		x.sync()
		x.bad(nntp.CodeSyntax, "a command holds neither NUL nor CR")
	case errors.Is(err, nntp.ErrTooLong):
		x.sync()
		x.bad(nntp.CodeSyntax, "line is too long")
	case errors.Is(err, nntp.ErrBareLF):
		// What follows is not what the client thinks it is: an article that was not
		// asked for, or somebody else's commands.
		x.sync()
		x.bad(nntp.CodeSyntax, "lines end with CR LF, not with LF alone; good-bye")
		x.quit = true
	default:
		return err
	}
	return nil
}

// split cuts the words behind the verb; blanks at the end are put up with.
func (x *session) split(rest string) {
	x.args = x.argsBuf[:0]
	for i := 0; i < len(rest); {
		if rest[i] == ' ' || rest[i] == '\t' {
			i++
			continue
		}
		j := i
		for j < len(rest) && rest[j] != ' ' && rest[j] != '\t' {
			j++
		}
		x.args = append(x.args, rest[i:j])
		i = j
	}
}

// bad answers a command that is none.
func (x *session) bad(code int, text string) {
	x.srv.Counts.BadCommands.Add(1)
	x.c.Status(code, text)
}

// syntax answers a command with the wrong words. An article that follows
// TAKETHIS all the same is read and dropped.
func (x *session) syntax(cmd command, text string) error {
	if cmd.article {
		if _, err := x.c.BlockTo(io.Discard, int64(x.srv.cfg.MaxArticle)); err != nil && !errors.Is(err, nntp.ErrTooLarge) {
			return err
		}
	}
	x.sync()
	x.bad(nntp.CodeSyntax, text)
	return nil
}

func verbOf(line string) string {
	v, _, _ := strings.Cut(line, " ")
	return v[:min(len(v), 20)]
}
