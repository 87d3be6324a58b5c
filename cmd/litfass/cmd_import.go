package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"sync"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// importReport says what became of the articles of an import.
type importReport struct {
	Read       int             `json:"read"`
	Taken      int             `json:"taken"`
	Duplicates int             `json:"duplicates"`
	Refused    int             `json:"refused"`
	Skipped    int             `json:"skipped"` // no articles
	NewGroups  int             `json:"new_groups"`
	Octets     int64           `json:"octets"`
	Reasons    []*importReason `json:"reasons"`
}

// importReason is one reason of refusals with some of its cases.
type importReason struct {
	Code     string   `json:"code"`
	Count    int      `json:"count"`
	Examples []string `json:"examples"` // at most maxExamples
}

const maxExamples = 1000

func (r *importReport) add(code, example string) {
	for _, have := range r.Reasons {
		if have.Code == code {
			have.Count++
			if len(have.Examples) < maxExamples {
				have.Examples = append(have.Examples, example)
			}
			return
		}
	}
	r.Reasons = append(r.Reasons, &importReason{Code: code, Count: 1, Examples: []string{example}})
}

func cmdImport(c *call) (err error) {
	group := c.fs.String("group", "", "file everything in this `GROUP`, whatever Newsgroups says")
	create := c.fs.Bool("create-groups", false, "make the groups that are not here")
	verbose := c.fs.Bool("verbose", false, "name every article that was refused or skipped")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	query := url.Values{}
	if *group != "" {
		query.Set("group", *group)
	}
	if *create {
		query.Set("create", "1")
	}
	bar := newProgress(c.err, "articles", plainSize(c.args))
	r, w := io.Pipe()
	var skipped importReport
	sent := make(chan error, 1)
	go func() {
		err := c.sendArticles(w, bar, &skipped)
		w.CloseWithError(err)
		sent <- err
	}()
	var report importReport
	body, err := n.stream(c.ctx, "import", query.Encode(), r)
	if err == nil {
		err = json.NewDecoder(body).Decode(&report)
		body.Close()
	}
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	readErr := <-sent
	bar.end()
	if readErr != nil && !errors.Is(readErr, io.ErrClosedPipe) {
		return fmt.Errorf("%w; what came before it is imported, mend it and import again: what is here already counts as duplicate", readErr)
	}
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	report.Skipped = skipped.Skipped
	report.Reasons = append(report.Reasons, skipped.Reasons...)
	return c.printImport(&report, *verbose)
}

// sendArticles writes the articles of the files as frames: a line with length
// and label, then the octets.
func (c *call) sendArticles(w io.Writer, bar *progress, skipped *importReport) error {
	out := bufio.NewWriterSize(w, 256<<10)
	a := &archive{
		in: c.in,
		each: func(label string, text []byte) error {
			bar.count.Add(1)
			fmt.Fprintf(out, "%d %s\n", len(text), strings.ReplaceAll(label, "\n", " "))
			_, err := out.Write(text)
			return err
		},
		skip: func(label, why string) {
			skipped.Skipped++
			skipped.add("skipped", label+": "+why)
		},
		read: func(n int) { bar.done.Add(int64(n)) },
	}
	for _, name := range c.args {
		if err := a.path(name); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (c *call) printImport(r *importReport, verbose bool) error {
	if c.json {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out, "%d articles read: %d taken (%s), %d duplicates, %d refused, %d files skipped, %d groups made\n",
		r.Read, r.Taken, human(r.Octets), r.Duplicates, r.Refused, r.Skipped, r.NewGroups)
	sort.SliceStable(r.Reasons, func(i, j int) bool { return r.Reasons[i].Count > r.Reasons[j].Count })
	for _, reason := range r.Reasons {
		fmt.Fprintf(c.out, "  %6d %s\n", reason.Count, reason.Code)
		show := reason.Examples
		if !verbose && reason.Code == "duplicate" {
			continue // counted is enough
		}
		if !verbose && len(show) > 3 {
			show = show[:3]
		}
		for _, e := range show {
			fmt.Fprintf(c.out, "         %s\n", e)
		}
		if more := reason.Count - len(show); more > 0 {
			fmt.Fprintf(c.out, "         and %d more; --verbose names them\n", more)
		}
	}
	return nil
}

// importer takes the frames of one import: at the node's side.
type importer struct {
	core   *core
	group  article.Group
	create bool

	mu     sync.Mutex
	report importReport
	have   map[article.Group]bool
}

type frame struct {
	label string
	text  []byte
}

// importBatch is how many articles are worked on at a time, as long as they fit into a
// 32nd of the heap: enough to fill group commits of the spool many times over, few
// enough to bound memory, since one batch is read while another is worked on.
const (
	importBatch  = 1024
	importAtOnce = 128
)

func (c *control) importArticles(w http.ResponseWriter, r *http.Request) {
	im := &importer{
		core: c.core, group: article.Group(r.URL.Query().Get("group")), create: r.URL.Query().Get("create") != "",
		have: map[article.Group]bool{},
	}
	err := im.run(r.Context(), r.Body)
	reply(w, &im.report, err)
}

func (im *importer) run(ctx context.Context, body io.Reader) error {
	if im.group != "" {
		if _, err := article.ParseGroup(string(im.group)); err != nil {
			return err
		}
		if err := im.makeGroups(ctx, []article.Group{im.group}); err != nil {
			return err
		}
		if _, err := im.core.spool.Group(ctx, im.group); errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("there is no group %s: add --create-groups, or \"litfass group add %s\" first", im.group, im.group)
		} else if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches, readErr := make(chan []frame), make(chan error, 1)
	go func() {
		defer close(batches)
		readErr <- readFrames(ctx, bufio.NewReaderSize(body, 256<<10), int(im.core.heap/32), batches)
	}()
	var failed error
	for b := range batches {
		if failed == nil {
			if failed = im.batch(ctx, b); failed != nil {
				cancel()
			}
		}
	}
	if err := <-readErr; failed == nil && err != nil {
		return err
	}
	return failed
}

// readFrames cuts the stream into batches of about most octets.
func readFrames(ctx context.Context, in *bufio.Reader, most int, out chan<- []frame) error {
	var b []frame
	octets := 0
	flush := func() error {
		if len(b) == 0 {
			return nil
		}
		select {
		case out <- b:
			b, octets = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return flush()
		} else if err != nil {
			return fmt.Errorf("read the articles: %w", err)
		}
		var n int
		size, label, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, err := fmt.Sscanf(size, "%d", &n); err != nil || n < 0 || n > maxText {
			return fmt.Errorf("read the articles: frame of length %q", size)
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(in, text); err != nil {
			return fmt.Errorf("read the articles: %w", err)
		}
		b, octets = append(b, frame{label, text}), octets+n
		if len(b) == importBatch || octets >= most {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// batch makes the groups that are missing, then files all articles, many at once.
// Its error ends the import: the spool takes nothing more.
func (im *importer) batch(ctx context.Context, frames []frame) error {
	wires := make([][]byte, len(frames))
	var named []article.Group
	for i, f := range frames {
		wire, groups, err := im.prepare(f.text)
		if err != nil {
			im.refused(f.label, "malformed", err.Error())
			continue
		}
		wires[i], named = wire, append(named, groups...)
	}
	if err := im.makeGroups(ctx, named); err != nil {
		return err
	}
	next := make(chan int)
	errs := make(chan error, importAtOnce)
	for range importAtOnce {
		go func() {
			var failed error
			for i := range next {
				if failed == nil {
					failed = im.file(ctx, frames[i].label, wires[i])
				}
			}
			errs <- failed
		}()
	}
	for i, wire := range wires {
		if wire != nil {
			next <- i
		}
	}
	close(next)
	var failed error
	for range importAtOnce {
		if err := <-errs; err != nil && failed == nil {
			failed = err
		}
	}
	im.report.Read += len(frames)
	return failed
}

// prepare turns a text into wire form. What mail lacks and an article must have
// is added at the end of its header: a Newsgroups if the group is given, Path,
// and a Message-ID that is the same at every import.
func (im *importer) prepare(text []byte) ([]byte, []article.Group, error) {
	lim := article.Limits{Article: int(im.core.cfg.NNTP.MaxArticle)}
	wire, err := article.Normalize(text, lim)
	if err != nil {
		return nil, nil, err
	}
	a, err := article.Parse(wire, lim)
	if err != nil {
		return nil, nil, err
	}
	var add [][2]string
	if a.Overview().Newsgroups == "" && im.group != "" {
		add = append(add, [2]string{"Newsgroups", string(im.group)})
	}
	if _, ok := a.Lookup("Path"); !ok {
		add = append(add, [2]string{"Path", "not-for-mail"})
	}
	if a.ID() == "" {
		sum := sha256.Sum256(text)
		left := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
		add = append(add, [2]string{"Message-ID", "<" + left + "@import.invalid>"})
	}
	if _, ok := a.Lookup("Subject"); !ok {
		add = append(add, [2]string{"Subject", "(no subject)"})
	}
	if add != nil {
		a = a.With(article.Edit{Add: add})
	}
	if im.group != "" {
		return a.Wire(), nil, nil
	}
	groups, err := article.LenientGroups(a.Overview().Newsgroups, 0)
	if err != nil {
		groups = nil // the agent will say it
	}
	return a.Wire(), groups, nil
}

func (im *importer) makeGroups(ctx context.Context, named []article.Group) error {
	if !im.create {
		return nil
	}
	var fresh []spool.GroupInfo
	for _, g := range named {
		if im.have[g] || g.Reserved() {
			continue
		}
		im.have[g] = true
		if _, err := im.core.spool.Group(ctx, g); errors.Is(err, spool.ErrNotFound) {
			fresh = append(fresh, spool.GroupInfo{Name: g, Status: spool.PostOpen, Created: im.core.now(), Creator: "import"})
		} else if err != nil {
			return fmt.Errorf("look up group %s: %w", g, err)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := im.core.putGroups(ctx, fresh...); err != nil {
		return fmt.Errorf("make groups: %w", err)
	}
	im.report.NewGroups += len(fresh)
	return nil
}

// file hands one article to the agent and counts what became of it.
func (im *importer) file(ctx context.Context, label string, wire []byte) error {
	e, err := im.core.importOne(ctx, wire, im.group)
	var refusal *agent.Refusal
	switch {
	case err == nil:
		im.mu.Lock()
		im.report.Taken++
		im.report.Octets += int64(e.Bytes)
		im.mu.Unlock()
	case errors.As(err, &refusal) && !refusal.Temporary():
		im.refused(label, refusal.Code, refusal.Text)
	default:
		return fmt.Errorf("the spool does not take more now (%s): %w", label, err)
	}
	return nil
}

func (im *importer) refused(label, code, why string) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if code == "duplicate" {
		im.report.Duplicates++
	} else {
		im.report.Refused++
	}
	im.report.add(code, label+": "+why)
}
