package webforum

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/litfass/litfass/article"
)

func FuzzRanges(f *testing.F) {
	f.Add("1-5,8,10-12")
	f.Fuzz(func(t *testing.T, s string) {
		r := parseRanges(s)
		if back := parseRanges(r.String()); back.String() != r.String() {
			t.Fatalf("%q: %q, then %q", s, r.String(), back.String())
		}
		for i, x := range r {
			if x[0] > x[1] || i > 0 && x[0] <= r[i-1][1] {
				t.Fatalf("%q: %v", s, r)
			}
		}
	})
}

func TestMarksFitTheCookie(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	v, err := w.f.visitor(rec, httptest.NewRequest("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		var r ranges
		for k := range 200 {
			n := uint64(k*k*7 + i)
			r = r.add(n+1, n+1)
		}
		v.marks.set(article.Group(fmt.Sprintf("some.group.with.a.name.%d", i)), r)
	}
	v.marks.save()
	c := rec.Result().Cookies()
	if len(c) != 1 || len(c[0].Value) > maxCookie || len(c[0].Value) < 500 {
		t.Fatalf("%d cookies", len(c))
	}
}
