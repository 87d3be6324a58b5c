package content

import (
	"strings"
	"testing"
)

func TestGatewayHTML(t *testing.T) {
	page := "<html><style>x</style><p>Gr\xfc\xdfe</p>\n\n\n<div>zwei<br>drei</div><script>alert(1)</script><img src=http://evil.example/x.png>"
	if got := TextOfHTML(page, "iso-8859-1"); got != "Grüße\n\nzwei\ndrei" {
		t.Errorf("text: %q", got)
	}
	safe := SafeHTML(page)
	for _, bad := range []string{"script", "alert", "evil", "style"} {
		if strings.Contains(safe, bad) {
			t.Errorf("%q is left in %q", bad, safe)
		}
	}
}
