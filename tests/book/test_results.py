from tlcourse import results


def test_stored_results_fit_their_scripts_settings_and_assets():
    assert results.stale() == []
