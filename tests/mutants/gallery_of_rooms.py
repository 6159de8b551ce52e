"""Bugs outside the algorithm: in data, runs, evaluation and the engine. See `gallery.py`."""

from gallery import Bug

UNET = "tests/nn/test_unet.py::"
EVALUATION = "tests/evaluation/test_evaluation.py::"
EMA = "tests/runs/test_ema.py::"
PIXELS = "tests/data/test_exact_pixels.py::"
IMPORT = "tests/interop/test_interop_commands.py::"
TENSOR = "tests/autograd/test_plain.py::"
SPLIT = "tests/data/test_splitting.py::"
REMARKS = "tests/data/test_remarks.py::"
VALUES = "tests/data/test_values.py::"
FOUND = "tests/data/test_found.py::"
WORKERS = "tests/fast/test_workers.py::"
SIGNALS = "tests/runs/test_signals.py::"
RESUMING = "tests/runs/test_resuming.py::"
FROM = "tests/runs/test_from_run.py::"

BUGS = [
    # ---- data ----
    Bug(
        "a class of one image is held out",
        "tinyddpm/data/dataset.py",
        "[labels[order]] > 1]",
        "[labels[order]] > 0]",
        SPLIT + "test_each_class_is_trained_and_a_sixth_of_it_is_held_out",
    ),
    Bug(
        "the split is not stratified",
        "tinyddpm/data/dataset.py",
        'labels[spare], kind="stable"',
        '0 * spare, kind="stable"',
        SPLIT + "test_each_class_is_trained_and_a_sixth_of_it_is_held_out",
    ),
    Bug(
        "held-out images are in order, so the first 300 are of the first classes",
        "tinyddpm/data/dataset.py",
        "return order[chosen[order]]",
        "return np.flatnonzero(chosen)",
        SPLIT + "test_without_labels_a_sixth_is_held_out_at_random",
    ),
    Bug(
        "a run of an older version gets the new split",
        "tinyddpm/runs/config/files.py",
        'if "image" in found else found',
        'if "picture" in found else found',
        SPLIT + "test_the_file_of_an_older_run_means_the_older_split",
    ),
    Bug(
        "one value a little below 0 turns black to grey",
        "tinyddpm/data/values.py",
        "if low >= -ROUNDING and high",
        "if low >= 0 and high",
        VALUES + "test_a_rounding_error_changes_no_range",
    ),
    Bug(
        "an archive unpacks without end",
        "tinyddpm/data/archives.py",
        "left -= len(contents[place])\n            if left < 0:",
        "left -= len(contents[place])\n            if left < -1e18:",
        "tests/data/test_archives.py::test_what_an_archive_unpacks_to_has_a_limit",
    ),
    Bug(
        "the holes of a sparse file in a tar are not counted",
        "tinyddpm/data/archives.py",
        "left -= member.size",
        "left -= 0",
        "tests/data/test_archives.py::test_a_sparse_file_in_a_tar_counts_with_its_holes",
    ),
    Bug(
        "equal images are not said",
        "tinyddpm/data/stored/doubles.py",
        "first != np.arange(len(first))",
        "first > np.arange(len(first))",
        REMARKS + "test_equal_images_are_said",
    ),
    Bug(
        "class folders that are links are dropped",
        "tinyddpm/data/folders.py",
        "if entry.is_dir():",
        "if entry.is_dir(follow_symlinks=False):",
        FOUND + "test_class_folders_that_are_links_are_followed",
    ),
    Bug(
        "a run's charts are data",
        "tinyddpm/data/folders.py",
        "if inside and is_run(",
        "if not inside and is_run(",
        FOUND + "test_a_run_folder_is_never_data",
    ),
    # ---- runs ----
    Bug(
        "every dropout layer of a step draws the same numbers",
        "tinyddpm/noise/addressed.py",
        "self.calls += 1",
        "self.calls = 1",
        UNET + "test_no_two_layers_of_a_step_drop_the_same_features",
    ),
    Bug(
        "EMA of the θ before the step",
        "tinyddpm/runs/training/trainer.py",
        "ema.update(model.ema.theta, model.unet.theta, config.ema_decay, done)",
        "ema.update(model.ema.theta, vars(self).get('before', model.unet.theta), "
        "config.ema_decay, done)\n            self.before = model.unet.theta.copy()",
        EMA + "test_the_ema_is_a_weighted_mean_of_the_thetas_after_each_step",
    ),
    Bug(
        "an imported run never uses the large variance",
        "tinyddpm/runs/opening.py",
        "scheduler.schedule.beta if scheduler.large_variance else None",
        "None",
        IMPORT + "test_an_imported_model_is_sampled_as_its_scheduler_says",
    ),
    Bug(
        "an imported run is clipped to [−1, 1]",
        "tinyddpm/runs/opening.py",
        "learned, scheduler.clip, scheduler.timesteps",
        "learned, 1.0, scheduler.timesteps",
        IMPORT + "test_an_imported_model_is_sampled_as_its_scheduler_says",
    ),
    Bug(
        "workers take the signals that are for the main process",
        "tinyddpm/fast/parallel/processes.py",
        "with _blocked(END_SIGNALS):",
        "with _blocked(set()):",
        WORKERS + "test_a_worker_takes_no_signal_that_is_for_the_parent_not_even_while_it_starts",
    ),
    Bug(
        "nobody does the work of a lost worker",
        "tinyddpm/fast/parallel/shards.py",
        'part.compute(request | {"mine": [s.start, s.stop]})',
        "pass",
        WORKERS + "test_the_others_go_on_without_a_worker_that_is_killed_and_compute_the_same_bits",
    ),
    Bug(
        "under nohup a run ends with its terminal",
        "tinyddpm/runs/training/interrupts.py",
        "handler is signal.SIG_IGN and number != signal.SIGINT",
        "False",
        SIGNALS + "test_what_nohup_ignores_stays_ignored_and_afterwards_all_is_as_before",
    ),
    Bug(
        "a second SIGTERM ends a run at once",
        "tinyddpm/runs/training/interrupts.py",
        "if number == signal.SIGINT:",
        "if number:",
        SIGNALS + "test_only_a_second_ctrl_c_ends_at_once",
    ),
    Bug(
        "a log that nobody reads ends a run",
        "tinyddpm/runs/training/lines.py",
        "    except OSError:\n        _redirect(stream, None)",
        "    except ZeroDivisionError:\n        _redirect(stream, None)",
        SIGNALS
        + "test_a_reader_that_ends_with_the_same_ctrl_c_takes_no_pictures_and_no_words_with_it",
    ),
    Bug(
        "a run is resumed on other images",
        "tinyddpm/runs/training/model.py",
        'if saved.state.get("data") != self.fingerprint:',
        "if False:",
        RESUMING + "test_a_picture_more_or_another_size_is_another_run_and_it_says_what_differs",
    ),
    Bug(
        "the EMA of a run that starts from another forgets that",
        "tinyddpm/runs/training/trainer.py",
        "done = model.from_step + step.k",
        "done = step.k",
        FROM + "test_it_begins_as_the_best_state_and_at_its_own_first_step",
    ),
    Bug(
        "classes keep their number and not their name",
        "tinyddpm/runs/training/start.py",
        "place.get(name, len(table) - 1) for name in (*now, None)",
        "min(i, len(table) - 1) for i in range(len(now) + 1)",
        FROM + "test_classes_keep_what_was_learned_for_their_names",
    ),
    # ---- data ----
    Bug(
        "the centre crop 10 % off",
        "tinyddpm/data/converting.py",
        "ImageOps.fit(image, width_height, Image.Resampling.BICUBIC)",
        "ImageOps.fit(image, width_height, Image.Resampling.BICUBIC, centering=(0.6, 0.6))",
        PIXELS + "test_the_crop_is_the_centre_to_the_pixel",
    ),
    Bug(
        "16-bit values scaled by floor",
        "tinyddpm/data/converting.py",
        "(values + 128) // 257",
        "values // 257",
        PIXELS + "test_every_sixteen_bit_grey_is_rounded_to_the_nearest_of_eight_bits",
    ),
    # ---- evaluation ----
    Bug(
        "precision and recall exchanged",
        "tinyddpm/evaluation/evaluate.py",
        '"precision", "recall", "density"',
        '"recall", "precision", "density"',
        EVALUATION + "test_one_real_image_over_and_over_is_precise_and_recalls_nothing",
    ),
    Bug(
        "the ideal denoiser knows the test images",
        "tinyddpm/evaluation/evaluate.py",
        "ideal_denoiser(train, run.schedule)",
        "ideal_denoiser(test, run.schedule)",
        EVALUATION + "test_j_of_the_ideal_denoiser_is_that_of_the_training_set",
    ),
    Bug(
        "J of the ideal denoiser and of the model exchanged",
        "tinyddpm/evaluation/evaluate.py",
        "draws.evaluate(ideal, comm=run.comm), draws.evaluate(model)]",
        "draws.evaluate(model), draws.evaluate(ideal, comm=run.comm)]",
        EVALUATION + "test_the_model_has_its_own_column",
    ),
    Bug(
        "the row of other real images compares the reference with itself",
        "tinyddpm/evaluation/evaluate.py",
        "function(test[n : 2 * n])",
        "function(test[:n])",
        EVALUATION + "test_other_real_images_are_other_ones",
    ),
    # ---- the engine ----
    Bug(
        "x == 0 is Python's identity",
        "autograd/plain.py",
        "    def __eq__(self",
        "    def equals(self",
        TENSOR + "test_where_x_is_zero",
    ),
]
