package nntpd

import (
	"bytes"
	"errors"
	"io"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/spill"
)

// maxPostHeader bounds the header of a post, in octets: article.Limits' default.
const maxPostHeader = 64 << 10

// doPost: RFC 3977 §6.3.1. 240 follows only when the article is on disk.
func (x *session) doPost() error {
	if err := x.mayAtAll(agent.Post); err != nil {
		return x.refuse(err, forPostStart())
	}
	x.c.Status(nntp.CodePostSend, "send it; end with a line that is a dot")
	if err := x.flush(); err != nil {
		return err
	}
	cfg := &x.srv.cfg
	p := &post{
		buf:    spill.New(cfg.TempDir, cfg.PostMemory, cfg.MaxPost),
		memory: cfg.PostMemory, tokens: x.srv.spilled, bol: true,
	}
	defer p.close()
	_, err := x.c.BlockTo(p, cfg.MaxPost)
	switch {
	case err == nil:
		err = x.inject(p)
	case errors.Is(err, nntp.ErrTooLarge):
		err = &agent.Refusal{Reason: agent.TooLarge, Code: "too-large", Text: "the article is too large"}
	case errors.Is(err, errSpill):
		x.log().Error("nntp: post not kept", "error", p.err)
		err = &agent.Refusal{Reason: agent.Busy, Code: "no-room", Text: "no room for such a large article now, try later"}
	default:
		return err // the connection is lost
	}
	if err != nil {
		x.srv.Counts.PostRefused.Add(1)
		return x.refuse(err, forPost())
	}
	return nil
}

// inject hands the article to the agent and answers 240.
func (x *session) inject(p *post) error {
	d, err := p.draft()
	if err != nil {
		return err
	}
	r, err := x.srv.cfg.Agent.Inject(x.srv.ctx, d, x.o)
	if err != nil {
		return err
	}
	x.srv.Counts.Posted.Add(1)
	if r.Waiting {
		x.c.Status(nntp.CodePostOK, "taken, it waits for a moderator: "+string(r.ID))
	} else {
		x.c.Status(nntp.CodePostOK, "article received "+string(r.ID))
	}
	return nil
}

var errSpill = errors.New("post cannot be kept")

// post gathers an article that is being posted, dots undone: in memory, and in
// a file once it has grown.
type post struct {
	buf    *spill.Buffer
	memory int
	tokens chan struct{}
	large  bool // holds a token

	err  error // of buf
	bol  bool  // at the beginning of a line
	last byte
	bad  string // what the article must not hold
}

// Write takes octets in wire form. Bare CR and LF and NUL are noted: no
// article may hold them (RFC 5536 §2.2).
func (p *post) Write(b []byte) (int, error) {
	all := len(b)
	for len(b) > 0 {
		if p.bol && b[0] == '.' { // RFC 3977 §3.1.1
			b, p.bol, p.last = b[1:], false, '.'
			continue
		}
		n := bytes.IndexByte(b, '\n') + 1
		if p.bol = n > 0; n == 0 {
			n = len(b)
		}
		p.check(b[:n])
		if err := p.keep(b[:n]); err != nil {
			p.err = err
			return 0, errSpill
		}
		p.last = b[n-1]
		b = b[n:]
	}
	return all, nil
}

// check looks at a line or a piece of one.
func (p *post) check(b []byte) {
	if b[0] != '\n' && p.last == '\r' {
		p.bad = "the article holds CR without LF"
	}
	if bytes.IndexByte(b, 0) >= 0 {
		p.bad = "the article holds NUL"
	}
	end := len(b)
	if b[end-1] == '\n' {
		if end--; end == 0 && p.last != '\r' || end > 0 && b[end-1] != '\r' {
			p.bad = "the article holds LF without CR"
		}
	}
	if end > 0 && bytes.IndexByte(b[:end-1], '\r') >= 0 {
		p.bad = "the article holds CR without LF"
	}
}

// keep stores octets. What does not fit into memory needs one of the few tokens
// for posts on disk.
func (p *post) keep(b []byte) error {
	if !p.large && p.buf.Size()+int64(len(b)) > int64(p.memory) {
		select {
		case p.tokens <- struct{}{}:
			p.large = true
		default:
			return errors.New("too many large posts at one time")
		}
	}
	_, err := p.buf.Write(b)
	return err
}

func (p *post) close() {
	_ = p.buf.Close()
	if p.large {
		<-p.tokens
	}
}

// draft splits header and body.
func (p *post) draft() (*article.Draft, error) {
	if p.bad != "" {
		return nil, malformed(p.bad)
	}
	size := p.buf.Size() - 2 // without the CRLF of the line that was the final dot
	head := make([]byte, min(size, maxPostHeader))
	if _, err := p.buf.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	end := bytes.Index(head, []byte("\r\n\r\n"))
	body := int64(end + 4)
	switch {
	case bytes.HasPrefix(head, []byte("\r\n")) || len(head) == 0:
		return nil, malformed("the article has no header")
	case end < 0 && int64(len(head)) < size:
		return nil, malformed("the header is too large, or no empty line ends it")
	case end < 0: // a header alone: the empty line is missing
		return nil, malformed("no empty line between header and body")
	}
	fields, err := article.ParseHeader(article.Stuff(nil, head[:end+2]), article.Limits{Header: maxPostHeader})
	if err != nil {
		return nil, malformed(err.Error())
	}
	return &article.Draft{Header: fields, Body: io.NewSectionReader(p.buf, body, size-body)}, nil
}

func malformed(why string) error {
	return &agent.Refusal{Reason: agent.Malformed, Code: "malformed", Text: why}
}
