package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/batch"
	"github.com/litfass/litfass/feeds/peer"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// batchCommands carry articles as rnews batches: for UUCP, NNCP or a stick.
func batchCommands() []command {
	return []command{
		{name: "out", args: "[--to FILE] [--limit SIZE] PEER", short: "write what a neighbour has not had yet as an rnews batch", run: cmdBatchOut},
		{name: "in", args: "[--from PEER] FILE...", short: "take the articles of rnews batches, as a neighbour brings them", run: cmdBatchIn,
			long: "\"-\" is standard input: zcat batch.gz | litfass batch in -"},
	}
}

// batchMark is where the batches for a peer have come to.
type batchMark struct {
	Peer  string
	Spool string
	Upto  spool.Seq
}

func cmdBatchOut(c *call) (err error) {
	to := c.fs.String("to", "", "write to `FILE`, which must not be there; default: standard output")
	var limit size
	c.fs.Func("limit", "begin no further article once the batch has `SIZE` (100MiB); run again for the rest", func(s string) error { return limit.UnmarshalText([]byte(s)) })
	if err := c.parse(1, 1); err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	q := url.Values{"peer": {c.args[0]}, "limit": {strconv.FormatInt(int64(limit), 10)}}
	body, err := n.stream(c.ctx, "batch/out", q.Encode(), http.NoBody)
	if err != nil {
		return fmt.Errorf("batch out: %w", err)
	}
	defer body.Close()
	var out io.Writer = c.out
	var file *os.File
	if *to != "" {
		if file, err = os.OpenFile(*to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
			return fmt.Errorf("batch out: %w; name a file that is not there", err)
		}
		defer file.Close()
		out = file
	}
	mark, said, err := readChunks(bufio.NewReader(body), out)
	if err == nil && file != nil {
		err = errors.Join(file.Sync(), file.Close()) // before the mark moves: what is in no batch is lost to the peer
	}
	if err != nil {
		return fmt.Errorf("batch out: %w; the next batch begins where this one did", err)
	}
	if err := n.ask(c.ctx, "batch/done", mark, nil); err != nil {
		return fmt.Errorf("batch out: the batch is whole, but the next one will repeat it: %w", err)
	}
	fmt.Fprintf(c.err, "%s\n", said)
	return nil
}

// readChunks copies the chunks that batchOut wrote, up to the mark behind them.
func readChunks(in *bufio.Reader, out io.Writer) (mark batchMark, said string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return mark, "", fmt.Errorf("the node broke off: %w", err)
		}
		length, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch n, err := strconv.ParseInt(length, 10, 64); {
		case err != nil:
			return mark, "", fmt.Errorf("chunk of length %.20q", length)
		case n < 0:
			return mark, "", errors.New(rest)
		case n == 0:
			end := struct {
				Mark batchMark
				Said string
			}{}
			err := json.Unmarshal([]byte(rest), &end)
			return end.Mark, end.Said, err
		default:
			if _, err := io.CopyN(out, in, n); err != nil {
				return mark, "", err
			}
		}
	}
}

// chunks writes each piece with its length before it.
type chunks struct{ w io.Writer }

func (c chunks) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := fmt.Fprintf(c.w, "%d\n", len(p)); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

func (c *control) batchActs() {
	c.mux.HandleFunc("POST /v1/batch/out", c.batchOut)
	c.mux.HandleFunc("POST /v1/batch/in", c.batchIn)
	act(c, "batch/done", c.batchDone)
}

// batchTable keeps the marks, beside those of the senders and not the same: a
// peer may be fed both ways.
func (k *core) batchTable() state.Table[batchMark] {
	return state.Table[batchMark]{DB: k.state, Bucket: "batch.marks"}
}

func (c *control) batchDone(_ context.Context, m batchMark) (struct{}, error) {
	return struct{}{}, c.core.batchTable().Put(m.Peer, m)
}

// batchOut streams a batch in chunks; a last one of length 0 carries the mark,
// one of length -1 an error.
func (c *control) batchOut(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("peer")
	limit, _ := strconv.ParseInt(r.URL.Query().Get("limit"), 10, 64)
	all, _ := c.core.peers.sections()
	i := indexPeer(all, name)
	if i < 0 {
		reply(w, nil, fmt.Errorf("there is no peer %s; \"litfass peer list\" shows those there are, an empty address is fine for one that only gets batches", name))
		return
	}
	wants, err := peer.Peer{Name: all[i].Name, Path: all[i].Path, Send: all[i].Send, Dist: all[i].Distributions}.Wants(c.core.spool.Open)
	if err != nil {
		reply(w, nil, err)
		return
	}
	mark, err := c.core.batchTable().Get(name)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		reply(w, nil, err)
		return
	}
	if id := c.core.spool.SpoolID(); mark.Spool != id || mark.Upto > c.core.spool.Last() {
		mark = batchMark{Peer: name, Spool: id} // another spool: everything again
	}
	match := func(e *spool.Entry) bool {
		ok, err := wants(r.Context(), e)
		return ok || err != nil // Out meets the error again and says it
	}
	out := bufio.NewWriterSize(w, 64<<10)
	done, err := batch.Out(r.Context(), c.core.spool, mark.Upto, match, chunks{out}, limit)
	if err != nil {
		fmt.Fprintf(out, "-1 %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		mark.Upto = done.Upto
		said := fmt.Sprintf("%d articles, %s, for %s", done.Articles, human(done.Octets), name)
		if done.Full {
			said += "; there are more, run it again"
		}
		end, _ := json.Marshal(map[string]any{"Mark": mark, "Said": said}) // of strings and numbers
		fmt.Fprintf(out, "0 %s\n", end)
	}
	_ = out.Flush() // who asked is gone: nobody to tell
}

// batchReport is what became of a batch.
type batchReport struct {
	batch.Report
	Reasons []string `json:"reasons"` // of the first ones refused
}

func cmdBatchIn(c *call) (err error) {
	from := c.fs.String("from", "", "count the articles as brought by this `PEER`")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	var sum batchReport
	for _, name := range c.args {
		var r batchReport
		if r, err = c.sendBatch(n, name, *from); err != nil {
			return fmt.Errorf("batch in: %s: %w; mend it and run it again: what is here already counts as duplicate", name, err)
		}
		sum.Taken += r.Taken
		sum.Duplicates += r.Duplicates
		sum.Refused += r.Refused
		sum.Deferred += r.Deferred
		for _, why := range r.Reasons {
			sum.Reasons = append(sum.Reasons, name+": "+why)
		}
	}
	if c.json {
		return c.printJSON(sum)
	}
	fmt.Fprintf(c.out, "%d articles read: %d taken, %d duplicates, %d refused, %d to be tried later\n",
		sum.Read(), sum.Taken, sum.Duplicates, sum.Refused, sum.Deferred)
	for _, why := range sum.Reasons {
		fmt.Fprintf(c.out, "  %s\n", why)
	}
	if sum.Deferred > 0 {
		return errors.New("batch in: some could not be taken now; run it again later")
	}
	return nil
}

// sendBatch hands one file to the node.
func (c *call) sendBatch(n *node, name, from string) (r batchReport, err error) {
	f, err := c.open(name)
	if err != nil {
		return r, err
	}
	defer f.Close()
	body, err := n.stream(c.ctx, "batch/in", url.Values{"peer": {from}}.Encode(), f)
	if err != nil {
		return r, err
	}
	defer body.Close()
	return r, json.NewDecoder(body).Decode(&r)
}

// maxBatchReasons bounds the refusals that are told one by one.
const maxBatchReasons = 50

func (c *control) batchIn(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("peer")
	if _, ok := c.core.peers.Peer(name); name != "" && !ok {
		reply(w, nil, fmt.Errorf("there is no peer %s; \"litfass peer list\" shows those there are", name))
		return
	}
	o := agent.Origin{Door: "batch", Peer: name}
	lim := article.Limits{Article: int(c.core.cfg.NNTP.MaxArticle)}
	var rep batchReport
	var err error
	rep.Report, err = batch.In(r.Context(), r.Body, c.core.agent, o, lim, func(at int64, err error) {
		if len(rep.Reasons) < maxBatchReasons {
			rep.Reasons = append(rep.Reasons, fmt.Sprintf("octet %d: %v", at, err))
		}
	})
	reply(w, &rep, err)
}
