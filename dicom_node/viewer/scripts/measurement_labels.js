// OHIF writes a number with the name of its concept ("Probability: 87.34 %") and leaves out whose it is; a point it
// draws as an arrow at a place. Points in this node's reports anchor the display of a slice and locate nothing, and
// many are on one slice: they become lines of text, one below the other, at the side of the image. A line around a
// region is said to be what it is. Reports of others stay as they are.
(() => {
  const MANUFACTURER = '';
  const SIDE = { left: 0.02, top: 0.05, step: 0.035 }; // parts of the image's width and height
  const REGION = {
    en: { label: 'Line', value: 'where the algorithm looked, no outline of a lesion' },
    ru: { label: 'Линия', value: 'куда смотрел алгоритм, не контур очага' },
  };
  // OHIF writes the code of a unit (UCUM).
  const HOUNSFIELD = { code: "[hnsf'U]", en: 'HU', ru: 'ед. H' };
  const LANGUAGE_OF_CONTENT = '121049'; // DCM
  const plans = new WeakMap();

  const displaySets = () => window.services.displaySetService.getActiveDisplaySets();
  const imageOf = measurement => measurement.coords[0]?.ReferencedSOPSequence?.ReferencedSOPInstanceUID;
  const isAnchor = measurement => measurement.coords[0]?.GraphicType === 'POINT';

  function ownReport(seriesUID) {
    const report = displaySets().find(set => set.SeriesInstanceUID === seriesUID && set.measurements);
    return report?.instance?.Manufacturer === MANUFACTURER ? report : undefined;
  }

  function languageOf(report) {
    const item = report.instance.ContentSequence.find(
      ({ ConceptNameCodeSequence }) => ConceptNameCodeSequence?.CodeValue === LANGUAGE_OF_CONTENT
    );
    return item?.ConceptCodeSequence?.CodeValue?.startsWith('ru') ? 'ru' : 'en';
  }

  function linesOf(measurement, report) {
    const language = languageOf(report);
    const name = measurement.TrackingIdentifier;
    const numbers = measurement.labels
      // Comments have no value, a finding site has a code for its label.
      .filter(label => label.value && !/^\d+$/.test(label.label))
      .map(({ label, value }) => ({
        label,
        // OHIF writes zero as nothing.
        value: (value.startsWith(' ') ? `0.00${value}` : value).replace(HOUNSFIELD.code, HOUNSFIELD[language]),
      }));
    const lines =
      numbers.length === 1
        ? [{ label: `${name} - ${numbers[0].label}`, value: numbers[0].value }]
        : [{ label: name, value: '' }, ...numbers];
    return isAnchor(measurement) ? lines : [...lines, REGION[language]];
  }

  // For each group of a report its lines, and the line on which it begins if it is anchored, in the order of the
  // report; made once, from what OHIF wrote: it asks again where a study has more than one series.
  function planOf(report) {
    if (!plans.has(report)) {
      const used = new Map();
      const plan = new Map();
      for (const measurement of report.measurements) {
        const lines = linesOf(measurement, report);
        const begins = used.get(imageOf(measurement)) ?? 0;
        plan.set(measurement.TrackingUniqueIdentifier, { lines, begins });
        if (isAnchor(measurement)) {
          used.set(imageOf(measurement), begins + lines.length);
        }
      }
      plans.set(report, plan);
    }
    return plans.get(report);
  }

  function atTheSide(measurement, report) {
    const image = displaySets()
      .flatMap(set => set.instances ?? [])
      .find(instance => instance.SOPInstanceUID === imageOf(measurement));
    if (!image) {
      return measurement.coords;
    }
    const { begins } = planOf(report).get(measurement.TrackingUniqueIdentifier);
    const point = [SIDE.left * image.Columns, (SIDE.top + SIDE.step * begins) * image.Rows];
    // Two equal points: an arrow of no length.
    return [{ ...measurement.coords[0], GraphicData: [...point, ...point] }];
  }

  window.config.customizationService.push({
    onBeforeSRAddMeasurement: {
      $set: ({ measurement, SeriesInstanceUID }) => {
        const report = ownReport(SeriesInstanceUID);
        if (report) {
          measurement.labels = planOf(report).get(measurement.TrackingUniqueIdentifier).lines;
          measurement.coords = isAnchor(measurement) ? atTheSide(measurement, report) : measurement.coords;
        }
        return measurement;
      },
    },
  });
})();
