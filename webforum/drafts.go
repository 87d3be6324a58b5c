package webforum

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/litfass/litfass/members"
)

// A draft has the name of its form (the field "once"), so that what is sent takes
// its draft away. Its fields are those of the form but for files.
var draftFields = [...]string{"name", "email", "subject", "body", "groups", "followup"}

func (v *visitor) keepsDrafts() bool { return v.account != nil && v.Shelf != nil }

// keepDraft keeps what a form holds and returns the draft's tag. Of an empty form
// nothing is kept.
func (v *visitor) keepDraft(action, heading, once string, fields map[string]string) (tag string, err error) {
	if len(once) != 24 || strings.TrimSpace(fields["body"]) == "" && strings.TrimSpace(fields["subject"]) == "" {
		return "", nil
	}
	if v.onces.result(once) != "" { // sent meanwhile
		return "", nil
	}
	d := members.Draft{ID: once, Action: action, Heading: heading, Fields: map[string]string{}}
	for _, k := range draftFields {
		if s := fields[k]; s != "" {
			d.Fields[k] = s
		}
	}
	return draftTag(d), v.Shelf.KeepDraft(v.ctx, v.account.Name, d)
}

// draftTag names what a draft holds.
func draftTag(d members.Draft) string {
	h := sha256.New()
	for _, k := range draftFields {
		fmt.Fprintln(h, len(d.Fields[k]), d.Fields[k])
	}
	return `"` + hex.EncodeToString(h.Sum(nil)[:8]) + `"`
}

// elsewhere says when another tab or device changed the draft that a script is about
// to write over, or "": If-Match (RFC 9110 §13.1.1) is what it knows of it.
func (v *visitor) elsewhere(id string) (string, error) {
	seen := v.r.Header.Get("If-Match")
	if seen == "" {
		return "", nil
	}
	d, err := v.Shelf.Draft(v.ctx, v.account.Name, id)
	if errors.Is(err, members.ErrNotFound) || err == nil && draftTag(d) == seen {
		return "", nil
	}
	return v.date(d.Changed), err
}

// putDraft takes a draft from script, while its author is typing.
func (f *Forum) putDraft(v *visitor) (*page, error) {
	if err := v.mine(); err != nil {
		return nil, err
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, 3*members.MaxDraft) // as percent-encoded as it gets
	if err := v.r.ParseForm(); err != nil {
		return nil, tooLarge(err)
	}
	q := v.r.PostForm
	fields := map[string]string{}
	for _, k := range draftFields {
		fields[k] = strings.ToValidUTF8(q.Get(k), "\uFFFD")
	}
	action := local(q.Get("action"))
	if !isForm(action) {
		return nil, errPage(http.StatusBadRequest, "error.form")
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	id := v.r.PathValue("id")
	if at, err := v.elsewhere(id); err != nil {
		return nil, err
	} else if at != "" {
		v.write(http.StatusPreconditionFailed, []byte(v.tx.T("draft.elsewhere", at)))
		return nil, nil
	}
	tag, err := v.keepDraft(action, clip(q.Get("heading"), 200), id, fields)
	if err != nil {
		return nil, v.full(err)
	}
	if tag != "" {
		v.w.Header().Set("ETag", tag)
	}
	v.write(http.StatusOK, []byte(v.tx.T("draft.kept", v.now.In(v.Zone).Format("15:04"))))
	return nil, nil
}

// isForm says whether an address is that of a form for writing.
func isForm(path string) bool {
	return strings.HasPrefix(path, "/g/") && strings.HasSuffix(path, "/post") ||
		strings.HasPrefix(path, "/m/") && (strings.HasSuffix(path, "/reply") || strings.HasSuffix(path, "/edit"))
}

// dropDraft removes a draft at its author's word.
func (f *Forum) dropDraft(v *visitor) (*page, error) {
	if err := v.mine(); err != nil {
		return nil, err
	}
	if err := v.Shelf.DropDraft(v.ctx, v.account.Name, v.r.PathValue("id")); err != nil {
		return nil, err
	}
	v.redirect("/mine#drafts")
	return nil, nil
}

type draftRow struct{ Href, Heading, Subject, Excerpt, At, ISO, Action string }

func (v *visitor) draftRows() (out []draftRow, err error) {
	if !v.keepsDrafts() {
		return nil, nil
	}
	list, err := v.Shelf.Drafts(v.ctx, v.account.Name)
	for _, d := range list {
		out = append(out, draftRow{Href: d.Action + "?draft=" + d.ID, Heading: d.Heading, Subject: d.Fields["subject"], Excerpt: excerptOf(d.Fields["body"]),
			At: v.date(d.Changed), ISO: d.Changed.Format(time.RFC3339), Action: "/mine/drafts/" + d.ID})
	}
	return out, err
}

// excerptOf is the first of one's own words in a text.
func excerptOf(body string) string {
	var own []string
	for l := range strings.SplitSeq(body, "\n") {
		if !strings.HasPrefix(l, ">") {
			own = append(own, strings.Fields(l)...)
		}
		if len(own) > 30 {
			break
		}
	}
	return clip(strings.Join(own, " "), 160)
}

// openDraft fills a form with the draft that its address names, and tells of other
// drafts of the same form.
func (v *visitor) openDraft(d *writeData) error {
	if !v.keepsDrafts() {
		return nil
	}
	if id := v.r.URL.Query().Get("draft"); id != "" {
		dr, err := v.Shelf.Draft(v.ctx, v.account.Name, id)
		if errors.Is(err, members.ErrNotFound) || err == nil && dr.Action != d.Action {
			return errPage(http.StatusNotFound, "draft.gone")
		} else if err != nil {
			return err
		}
		d.Seen = draftTag(dr)
		d.Once, d.Draft = dr.ID, v.tx.T("draft.kept", v.date(dr.Changed))
		d.Name, d.Email, d.Subject, d.Body = dr.Fields["name"], dr.Fields["email"], dr.Fields["subject"], dr.Fields["body"]
		d.FollowupTo = dr.Fields["followup"]
		if g := dr.Fields["groups"]; g != "" && !d.Edit {
			d.Groups = g
		}
		return nil
	}
	list, err := v.Shelf.Drafts(v.ctx, v.account.Name)
	for _, dr := range list {
		if dr.Action == d.Action && len(d.Drafts) < 3 {
			d.Drafts = append(d.Drafts, draftRow{Href: dr.Action + "?draft=" + dr.ID, Subject: dr.Fields["subject"], Excerpt: excerptOf(dr.Fields["body"]), At: v.date(dr.Changed)})
		}
	}
	return err
}
