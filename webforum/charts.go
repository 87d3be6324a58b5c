package webforum

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// chart is a curve as the server draws it.
type chart struct {
	Title, Most, From, To string
	SVG                   template.HTML
}

const (
	chartWidth  = 600
	chartHeight = 120
	chartHead   = 12 // above the highest value, which a line marks
)

// charts draws what was measured: articles an hour, octets on disk, peers' lag.
func (v *visitor) charts(s []Sample) []chart {
	if len(s) < 3 {
		return nil
	}
	var intake, disk, lag []float64
	for i, x := range s {
		disk, lag = append(disk, float64(x.Used)), append(lag, float64(x.Lag))
		if i == 0 {
			continue
		}
		hours := max(x.At.Sub(s[i-1].At).Hours(), 1.0/60)
		intake = append(intake, float64(x.Arrived-min(s[i-1].Arrived, x.Arrived))/hours)
	}
	at := make([]time.Time, len(s))
	for i := range s {
		at[i] = s[i].At
	}
	number := func(f float64) string { return v.tx.number(uint64(f + 0.5)) }
	size := func(f float64) string { return v.tx.size(int64(f)) }
	return []chart{
		v.chart("intake", at[1:], intake, number),
		v.chart("disk", at, disk, size),
		v.chart("lag", at, lag, number),
	}
}

// chart draws one curve over time, from 0 to its highest value. What it shows is
// in its title too, for those who do not see it.
func (v *visitor) chart(key string, at []time.Time, y []float64, show func(float64) string) chart {
	most := 0.0
	for _, f := range y {
		most = max(most, f)
	}
	first, last := at[0], at[len(at)-1]
	span := max(last.Sub(first).Seconds(), 1)
	var line strings.Builder
	for i, f := range y {
		h := 0.0
		if most > 0 {
			h = f / most
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", at[i].Sub(first).Seconds()/span*chartWidth, (1-h)*(chartHeight-chartHead-2)+chartHead)
	}
	c := chart{Title: v.tx.T("chart." + key), Most: show(most), From: v.date(first), To: v.date(last)}
	label := template.HTMLEscapeString(v.tx.T("chart.says", c.Title, c.Most, show(y[len(y)-1])))
	c.SVG = template.HTML(fmt.Sprintf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s" preserveAspectRatio="none"><path d="M0 %dH%d"/><polygon points="0,%d %s%d,%d"/><polyline points="%s"/></svg>`,
		chartWidth, chartHeight, label, chartHead, chartWidth, chartHeight, line.String(), chartWidth, chartHeight, strings.TrimSpace(line.String())))
	return c
}
