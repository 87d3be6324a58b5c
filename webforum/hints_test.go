package webforum

import (
	"slices"
	"strings"
	"testing"
)

func hintNames(w *world, c *composed, parent string) (out []string) {
	v := &visitor{Forum: w.f, tx: w.f.texts["en"]}
	for _, h := range v.hints(c, parent) {
		out = append(out, h.Name)
	}
	return out
}

const parentText = "Ann wrote:\n> The antenna stands on the tower.\n> It points to the valley.\n\n"

func TestHints(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("> a line of what somebody else wrote, and more of it\n", 30)
	for _, c := range []struct {
		name, subject, body, groups, parent string
		want                                []string
	}{
		{"a good answer", "Re: Antenna", parentText + "Then let us turn it.", "a.b", parentText, nil},
		{"a new thread", "Antenna", "Who helps?", "a.b", "", nil},
		{"nothing own", "Re: Antenna", parentText, "a.b", parentText, []string{"empty"}},
		{"too much quoted", "Re: Antenna", "Ann wrote:\n" + long + "\nYes.", "a.b", "Ann wrote:\n" + long, []string{"overquote"}},
		{"above", "Re: Antenna", "Yes.\n\n" + parentText + "> more\n> and more", "a.b", parentText, []string{"toppost"}},
		{"nothing quoted", "Re: Antenna", "Yes.", "a.b", parentText, []string{"noquote"}},
		{"of nobody", "Re: Antenna", "> The antenna stands on the tower.\n> It points to the valley.\n\nYes.", "a.b", parentText, []string{"nowrote"}},
		{"of somebody else", "Re: Antenna", "Ben wrote:\n> something that stands elsewhere\n> and goes on\n\nYes.", "a.b", parentText, []string{"wrongparent"}},
		{"of two", "Re: Antenna", parentText + "Yes.\n\nBen wrote:\n> It points to the valley.\n\nNo.", "a.b", parentText, []string{"manyparents"}},
		{"Re alone", "Re: ", "text", "a.b", "", []string{"onlyre"}},
		{"Re of nothing", "Re: Antenna", "text", "a.b", "", []string{"newre"}},
		{"shouting", "WHO HELPS ME NOW", "text", "a.b", "", []string{"capitals"}},
		{"link as subject", "see http://a.example/x", "text", "a.b", "", []string{"linksubject"}},
		{"long subject", strings.Repeat("word ", 30), "text", "a.b", "", []string{"longsubject"}},
		{"three groups", "s", "text", "a.b,a.c,a.d", "", []string{"crosspost"}},
		{"only a link", "s", "https://a.example/very/long", "a.b", "", []string{"barelink"}},
		{"short link", "s", "Look at https://bit.ly/xyz soon", "a.b", "", []string{"shortlink"}},
		{"long signature", "s", "text\n-- \n1\n2\n3\n4\n5", "a.b", "", []string{"longsig"}},
		{"no line can hold it", "s", strings.Repeat("x", 950), "a.b", "", []string{"longline"}},
		{"forgotten file", "s", "The plan is attached.", "a.b", "", []string{"nofile"}},
		{"a quoted file", "s", parentText + "> the plan is attached\n\nThanks.", "a.b", "", nil},
	} {
		got := hintNames(w, &composed{Subject: c.subject, Body: c.body, Groups: c.groups}, c.parent)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What is mended raises its hint no more, and keeps what the author wrote.
func TestFixes(t *testing.T) {
	w := newWorld(t)
	v := &visitor{Forum: w.f, tx: w.f.texts["en"]}
	quote := "Ann wrote:\n" + strings.Repeat("> > deeper, from long ago, which nobody needs any more\n> a line of what somebody else wrote\n", 40)
	for name, c := range map[string]*composed{
		"overquote": {Subject: "Re: s", Body: quote + "\nMy own words.\n"},
		"toppost":   {Subject: "Re: s", Body: "My own words.\n\n" + parentText + "> x\n> y\n-- \nAnn"},
		"nowrote":   {Subject: "Re: s", Body: "> The antenna stands on the tower.\n> It points to the valley.\n\nMy own words."},
		"newre":     {Subject: "Re: Re: s", Body: "My own words."},
	} {
		parent := parentText
		if name == "newre" {
			parent = ""
		}
		if !slices.Contains(hintNames(w, c, parent), name) {
			t.Errorf("%s is not said of %q", name, c.Body)
		}
		v.fix(name, c, parent)
		if slices.Contains(hintNames(w, c, parent), name) {
			t.Errorf("%s is still said of %q", name, c.Body)
		}
		if strings.Count(c.Body, "My own words.") != 1 {
			t.Errorf("%s lost the author's words: %q", name, c.Body)
		}
	}
	turned := &composed{Body: "Mine.\n\n" + parentText + "-- \nAnn"}
	v.fix("toppost", turned, parentText)
	if want := strings.TrimSpace(parentText) + "\n\nMine.\n\n-- \nAnn\n"; turned.Body != want {
		t.Errorf("%q, want %q", turned.Body, want)
	}
}

// Whatever is mended, no line that the author wrote himself is lost.
func FuzzFix(f *testing.F) {
	f.Add("a\n> b\nc\n", 0)
	f.Add("Ann wrote:\n> > b\n> b\n\n-- \nx", 1)
	w := newWorld(f)
	v := &visitor{Forum: w.f, tx: w.f.texts["en"]}
	f.Fuzz(func(t *testing.T, body string, n int) {
		body = strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\x00", "")
		c := &composed{Body: body}
		v.fix([]string{"overquote", "toppost", "nowrote", "newre"}[(n%4+4)%4], c, parentText)
		after := strings.Split(c.Body, "\n")
		for l := range strings.SplitSeq(body, "\n") {
			if !strings.HasPrefix(l, ">") && strings.TrimSpace(l) != "" && !slices.ContainsFunc(after, func(x string) bool { return strings.TrimRight(x, " ") == strings.TrimRight(l, " ") }) {
				t.Errorf("%q is lost from %q: %q", l, body, c.Body)
			}
		}
	})
}
