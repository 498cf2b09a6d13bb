package plugin

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go-hours/bindings/types"
	auth "go-hours/bindings/wasmtx_plugin_auth"
	contract "go-hours/bindings/wasmtx_plugin_types"
)

// Streams have opening hours: nobody begins to watch outside them, and who is watching then is sent home.

// span is when the doors are open, as times since midnight. The zero span is closed.
type span struct{ from, to time.Duration }

var (
	place *time.Location
	week  [7]span
	// Tests have their own clock.
	now = time.Now
)

// Configure reads the configuration.
func Configure(text string) configured {
	var config struct {
		Offset string            `json:"offset"`
		Open   map[string]string `json:"open"`
	}
	reader := json.NewDecoder(strings.NewReader(text))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&config); err != nil {
		return invalid("", err.Error())
	}
	at, err := time.Parse("-07:00", config.Offset)
	if err != nil {
		return invalid("/offset", "must be hours and minutes from UTC, as +01:00")
	}
	place = at.Location()
	week = [7]span{}
	for days, hours := range config.Open {
		open, err := parse(hours)
		if err != nil {
			return invalid("/open/"+days, err.Error())
		}
		switch days {
		case "weekdays":
			for weekday := time.Monday; weekday <= time.Friday; weekday++ {
				week[weekday] = open
			}
		case "saturday":
			week[time.Saturday] = open
		case "sunday":
			week[time.Sunday] = open
		default:
			return invalid("/open/"+days, "must be weekdays, saturday or sunday")
		}
	}
	return fine()
}

func parse(hours string) (span, error) {
	if hours == "closed" {
		return span{}, nil
	}
	var open [2]time.Duration
	from, to, _ := strings.Cut(hours, "-")
	for i, text := range []string{from, to} {
		clock, err := time.Parse("15:04", text)
		if err != nil {
			return span{}, fmt.Errorf("must be as 07:00-19:00, or closed")
		}
		open[i] = time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute
	}
	if open[0] >= open[1] {
		return span{}, fmt.Errorf("must end after it begins")
	}
	return span{open[0], open[1]}, nil
}

// left is for how long the doors stay open.
func left(at time.Time) time.Duration {
	at = at.In(place)
	today := week[at.Weekday()]
	since := at.Sub(time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, place))
	if since < today.from || since >= today.to {
		return 0
	}
	return today.to - since
}

// Check lets everybody watch until the doors close. All else is allowed at any time.
func Check(request auth.Request) auth.Decision {
	if request.Action != contract.ActionRead {
		return auth.MakeDecisionAllow(auth.Permit{})
	}
	rest := left(now())
	if rest < time.Second {
		return auth.MakeDecisionDeny(auth.DenialNotAllowed)
	}
	return auth.MakeDecisionAllow(auth.Permit{Lasts: types.Some(uint64(rest / time.Second))})
}
