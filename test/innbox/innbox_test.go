package innbox

import (
	"strings"
	"testing"
)

func TestFeedFiles(t *testing.T) {
	news, feed := feedFiles([]Feed{{Name: "a", Exclude: "a.invalid", Port: 7}, {Name: "b", Exclude: "b.invalid", Batch: true}})
	for _, want := range []string{"a/a.invalid:*", ":Tm:innfeed!\n", "innfeed!:!*:Tc,Wnm*:innfeed\n", "b/b.invalid:*", ":Tf,Wnm:b\n"} {
		if !strings.Contains(news, want) {
			t.Errorf("no %q in %q", want, news)
		}
	}
	if !strings.Contains(feed, "peer a {") || strings.Contains(feed, "peer b") {
		t.Errorf("innfeed.conf %q", feed)
	}
}
