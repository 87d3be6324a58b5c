package webforum

import (
	"errors"
	"net/http"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/internal/spill"
)

// send posts what the form holds. back: to the thread, not to the article.
func (v *visitor) send(d *writeData, back bool) (*page, error) {
	shown := d.composed
	if err := v.makeSecret(); err != nil {
		return nil, err
	}
	v.author(&d.composed)
	key := onceKey(d.Once, &shown)
	done, _ := v.onces.begin(key, v.now)
	if done != nil { // sent twice: wait for the first
		select {
		case <-done:
		case <-v.ctx.Done():
			return nil, v.ctx.Err()
		}
		if id := v.onces.result(key); id != "" {
			v.redirect(messagePath(id))
			return nil, nil
		}
		return nil, errPage(http.StatusConflict, "error.busy")
	}
	res, err := v.inject(&d.composed)
	v.onces.end(key, res.ID)
	var ref *agent.Refusal
	switch {
	case errors.As(err, &ref):
		d.composed = shown
		d.Errors = append(d.Errors, formError{"", v.refusal(ref)})
		d.LostFiles = len(d.files) > 0
		return v.writeForm(d, statusOf(ref))
	case errors.Is(err, spill.ErrTooLarge):
		d.composed = shown
		d.Errors = append(d.Errors, formError{"file", v.tx.T("post.large", v.tx.size(v.MaxPost))})
		return v.writeForm(d, http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, err
	}
	return v.sent(d, &shown, res, back)
}

// sent tidies up after an article is in.
func (v *visitor) sent(d *writeData, shown *composed, res agent.Result, back bool) (*page, error) {
	if v.account == nil && !d.Edit {
		v.prefs.Name, v.prefs.Email = shown.Name, shown.Email
		v.savePrefs()
	}
	v.onces.settle(d.Once, res.ID, v.now)
	if v.keepsDrafts() {
		if err := v.Shelf.DropDraft(v.ctx, v.account.Name, d.Once); err != nil {
			v.Log.Warn("forum: drop a draft that was sent", "error", err)
		}
	}
	if res.Waiting {
		return &page{visitor: v, Name: "waiting", Title: v.tx.T("post.waiting"), Status: http.StatusAccepted, Data: d.Group, NoIndex: true}, nil
	}
	for _, p := range res.Entry.Places {
		if v.marks.known(p.Group) {
			v.marks.read(p.Group, p.Number)
		}
	}
	v.marks.save()
	if err := v.Threads.Hurry(v.ctx, res.Entry.Seq, hurry); err != nil {
		v.Log.Warn("forum: thread index", "error", err)
	}
	if d.Watch && v.keepsDrafts() && !d.Edit {
		if err := v.watch(d.thread, res.ID); err != nil {
			v.Log.Info("forum: watch what was sent", "account", v.account.Name, "error", err)
		}
	}
	to := messagePath(res.ID)
	if root, err := v.Threads.Root(res.ID); back && err == nil {
		to = threadPath(d.thread, root) + "?page=last#" + anchor(res.ID)
	}
	v.redirect(to)
	return nil, nil
}

// author fills in who writes: the account, or what a guest said of himself.
func (v *visitor) author(c *composed) {
	if v.account != nil {
		if c.Name == "" {
			c.Name = v.account.Name
		}
		if c.Email == "" {
			c.Email = v.account.Email
		}
	} else if c.Name == "" {
		c.Name = v.tx.T("guest.name")
	}
	if c.Email == "" { // RFC 5536 §3.1.2 asks for an address; .invalid says that it is none
		host := v.Host
		if !strings.HasSuffix(host, ".invalid") {
			host += ".invalid"
		}
		c.Email = "nobody@" + host
	}
}

func (v *visitor) inject(c *composed) (agent.Result, error) {
	dr, body, err := v.draft(c)
	if err != nil {
		return agent.Result{}, err
	}
	defer body.Close()
	return v.Agent.Inject(v.ctx, dr, v.origin())
}
