package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func cmdExport(c *call) (err error) {
	group := c.fs.String("group", "", "the `GROUP` to write out")
	since := c.fs.String("since", "", "only what came in the last `D` (30d), or since a day (2026-01-31)")
	format := c.fs.String("format", "mbox", "mbox, rnews or html: the `FORM` to write")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if *group == "" {
		return usagef("export: --group is needed; \"litfass group list\" shows the groups")
	}
	write, known := exportFormats()[*format]
	if !known {
		return usagef("export: --format must be mbox, rnews or html")
	}
	from, err := parseSince(*since)
	if err != nil {
		return usagef("export: --since: %v", err)
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "export", "group="+*group+"&since="+strconv.FormatInt(from, 10), http.NoBody)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer body.Close()
	out := bufio.NewWriter(c.out)
	e := exporter{w: out, group: *group}
	if err := e.frames(bufio.NewReader(body), write); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if *format == "html" {
		e.htmlEnd()
	}
	return out.Flush()
}

// parseSince returns Unix seconds, negative ones counting back from now, 0: all.
func parseSince(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.Unix(), nil
	}
	d, err := parseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is neither a duration, like 24h or 30d, nor a day, like 2026-01-31", s)
	}
	return -int64(d.Seconds()), nil
}

// export writes frames as import reads them: a line with length and arrival,
// then the article's octets with CRLF. A frame of length -1 carries an error.
func (c *control) export(w http.ResponseWriter, r *http.Request) {
	group := article.Group(r.URL.Query().Get("group"))
	since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	from := time.Unix(since, 0)
	if since < 0 {
		from = c.core.now().Add(time.Duration(since) * time.Second)
	}
	info, err := c.core.spool.Group(r.Context(), group)
	if err != nil {
		reply(w, nil, noGroup(string(group), err))
		return
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := c.exportGroup(r.Context(), out, info, from); err != nil {
		fmt.Fprintf(out, "-1 %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	_ = out.Flush() // who asked is gone: nobody to tell
}

func (c *control) exportGroup(ctx context.Context, w io.Writer, g spool.GroupInfo, from time.Time) error {
	for e, err := range c.core.spool.Range(ctx, g.Name, g.Low, g.High) {
		if err != nil {
			return err
		}
		if e.Arrived.Before(from) {
			continue
		}
		a, err := c.core.spool.Open(ctx, e.Seq)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		text := a.Octets()
		if _, err := fmt.Fprintf(w, "%d %d\n", len(text), e.Arrived.Unix()); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// exporter writes articles in a form of exportFormats.
type exporter struct {
	w     *bufio.Writer
	group string
	n     int
}

func exportFormats() map[string]func(e *exporter, text []byte, arrived time.Time) error {
	return map[string]func(e *exporter, text []byte, arrived time.Time) error{
		"mbox": (*exporter).mbox, "rnews": (*exporter).rnews, "html": (*exporter).html,
	}
}

func (e *exporter) frames(in *bufio.Reader, write func(e *exporter, text []byte, arrived time.Time) error) error {
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return nil
		} else if err != nil {
			return err
		}
		size, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(size)
		if err != nil || n > maxText {
			return fmt.Errorf("frame of length %q", size)
		}
		if n < 0 {
			return errors.New(rest)
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(in, text); err != nil {
			return err
		}
		at, _ := strconv.ParseInt(rest, 10, 64)
		if err := write(e, bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), time.Unix(at, 0).UTC()); err != nil {
			return err
		}
		e.n++
	}
}

func (e *exporter) rnews(text []byte, _ time.Time) error {
	fmt.Fprintf(e.w, "#! rnews %d\n", len(text))
	_, err := e.w.Write(text)
	return err
}

// mbox writes the form mboxrd: every "From " line, quoted or not, is quoted once more.
func (e *exporter) mbox(text []byte, arrived time.Time) error {
	fmt.Fprintf(e.w, "From litfass@localhost %s\n", arrived.Format(time.ANSIC))
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			e.w.WriteByte('>')
		}
		e.w.Write(line)
	}
	return e.w.WriteByte('\n')
}

// html writes one page to read and print: no decoding beyond header words.
func (e *exporter) html(text []byte, _ time.Time) error {
	if e.n == 0 {
		fmt.Fprintf(e.w, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>%s</title>\n<h1>%[1]s</h1>\n", html.EscapeString(e.group))
	}
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	words := new(mime.WordDecoder)
	fmt.Fprint(e.w, "<article>\n<dl>\n")
	unfolded := strings.NewReplacer("\n ", " ", "\n\t", " ").Replace(string(head))
	for line := range strings.Lines(unfolded) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch strings.ToLower(name) {
		case "from", "date", "subject", "newsgroups", "message-id", "references":
			if plain, err := words.DecodeHeader(value); err == nil {
				value = plain
			}
			fmt.Fprintf(e.w, "<dt>%s<dd>%s\n", html.EscapeString(name), html.EscapeString(strings.ToValidUTF8(strings.TrimSpace(value), "\ufffd")))
		}
	}
	_, err := fmt.Fprintf(e.w, "</dl>\n<pre>%s</pre>\n</article>\n<hr>\n", html.EscapeString(strings.ToValidUTF8(string(body), "\ufffd")))
	return err
}

func (e *exporter) htmlEnd() {
	if e.n == 0 {
		fmt.Fprintf(e.w, "<!doctype html>\n<title>%s</title>\n<p>No articles.\n", html.EscapeString(e.group))
	}
}
