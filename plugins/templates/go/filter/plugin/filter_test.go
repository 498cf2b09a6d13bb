package plugin

import (
	"testing"

	filter "plugin-name/bindings/wasmtx_plugin_filter"
	contract "plugin-name/bindings/wasmtx_plugin_types"
)

func TestOnlyKeyframesAreAskedForWhenTheConfigurationSaysSo(t *testing.T) {
	publication := contract.Publication{Path: "cam1", Tracks: []contract.Track{{Id: 7}}}
	for text, which := range map[string]contract.Which{"{}": contract.WhichAll, `{"keyframes":true}`: contract.WhichKey} {
		config.Keyframes = false
		if !Configure(text).IsOk() {
			t.Fatalf("%s is refused", text)
		}
		interests := Open(publication).Ok().Interests
		if len(interests) != 1 || interests[0].Track != 7 || interests[0].Which != which {
			t.Errorf("%s asks for %v", text, interests)
		}
	}
}

func TestFramesPassAndAreCounted(t *testing.T) {
	frames = 0
	if Frame(contract.FrameInfo{Track: 7}) != filter.VerdictPass || frames != 1 {
		t.Errorf("%d frames", frames)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{"{", `{"keyframe":true}`, `{"keyframes":"yes"}`} {
		if Configure(text).IsOk() {
			t.Errorf("%s is accepted", text)
		}
	}
}
